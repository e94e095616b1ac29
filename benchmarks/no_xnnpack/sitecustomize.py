"""Make every LiteRT interpreter of this process compute without XNNPACK.

Python imports a module of this name at its start, if its folder is on ``PYTHONPATH``.
"""

from ai_edge_litert.interpreter import Interpreter, OpResolverType

_PLAIN = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
Interpreter.__init__.__defaults__ = tuple(
    _PLAIN if value is OpResolverType.AUTO else value for value in Interpreter.__init__.__defaults__
)
