// Short names for what every part of the page does to the document.

export const $ = (id) => document.getElementById(id);

// Children that are strings become text nodes.
export const make = (tag, properties = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), properties);
  node.append(...children);
  return node;
};
