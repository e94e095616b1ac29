"""The taxonomy of the sample, and how each species looks.

Families and the ranks above them are real; genera, species and common names are invented, so
that nobody takes a drawing for evidence about a living species.  Every genus ends in "-ficta",
Latin for "made up", so that its name gives it away.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from rs_toolkit.sample.shapes import Build

__all__ = ["FAMILIES", "SPECIES", "Family", "Look", "Species"]


@dataclass(frozen=True)
class Look:
    """What distinguishes a species within its family: two colours, a pattern, proportions."""

    main: str
    second: str
    pattern: str
    build: Build


@dataclass(frozen=True)
class Species:
    """One species; ``ranks`` are kingdom, phylum, class, order, family, genus, species."""

    ranks: tuple[str, ...]
    common_name: str
    look: Look

    @property
    def family(self) -> str:
        return self.ranks[4]

    @property
    def slug(self) -> str:
        return f"{self.ranks[5]}_{self.ranks[6]}".lower()


@dataclass(frozen=True)
class Family:
    """A family: its body plan, whether it is drawn about upright, and where it lives."""

    name: str
    plan: str
    upright: bool
    habitats: tuple[str, ...]
    species: tuple[Species, ...]


# family: ranks above it | body plan | upright | habitats.  Ordered from common to rare.
_FAMILIES = """
Nymphalidae   | Arthropoda Insecta Lepidoptera           | butterfly  | no  | grass forest
Paridae       | Chordata Aves Passeriformes              | songbird   | yes | forest sky
Carabidae     | Arthropoda Insecta Coleoptera            | beetle     | no  | forest rock
Chaetodontidae| Chordata Actinopterygii Acanthuriformes  | reef_fish  | yes | water reef
Ranidae       | Chordata Amphibia Anura                  | frog       | no  | grass water
Araneidae     | Arthropoda Arachnida Araneae             | spider     | no  | forest grass
Felidae       | Chordata Mammalia Carnivora              | cat        | yes | grass snow
Colubridae    | Chordata Reptilia Squamata               | snake      | no  | sand rock
Anatidae      | Chordata Aves Anseriformes               | duck       | yes | water snow
Asteriidae    | Echinodermata Asteroidea Forcipulatida   | starfish   | no  | sand reef
Lacertidae    | Chordata Reptilia Squamata               | lizard     | no  | rock sand
Helicidae     | Mollusca Gastropoda Stylommatophora      | snail      | yes | grass forest
Cheloniidae   | Chordata Reptilia Testudines             | sea_turtle | no  | water sand
Cervidae      | Chordata Mammalia Artiodactyla           | deer       | yes | forest snow
Accipitridae  | Chordata Aves Accipitriformes            | raptor     | no  | sky rock
Pelagiidae    | Cnidaria Scyphozoa Semaeostomeae         | jellyfish  | yes | water reef
"""

# family | genus species | common name | main second | pattern | length girth feature.
# Within a family, from common to rare.
_SPECIES = """
Nymphalidae   | Igneficta solana    | tawny lantern          | orange cream   | mottle | 1.0 1.0 1.0
Nymphalidae   | Igneficta nivea     | pale lantern           | cream brown    | veins  | 0.9 1.1 0.9
Nymphalidae   | Veloficta caerula   | marsh sapphire         | blue white     | plain  | 1.1 0.9 1.0
Nymphalidae   | Veloficta umbrata   | umber sailwing         | brown orange   | rings  | 1.0 1.1 1.2
Paridae       | Parificta hortensis | garden pipkin          | olive yellow   | plain  | 1.0 1.0 1.0
Paridae       | Parificta nivalis   | frost pipkin           | grey white     | counter| 0.9 1.1 0.8
Paridae       | Cristificta rufa    | rufous hoodling        | rust charcoal  | plain  | 1.0 0.9 1.3
Paridae       | Cristificta aurea   | golden hoodling        | yellow olive   | bands  | 1.1 1.0 1.1
Carabidae     | Caeruficta arundinis| blue-banded reed beetle| blue charcoal  | bands  | 1.0 1.0 1.0
Carabidae     | Caeruficta ferox    | rust ground beetle     | rust brown     | veins  | 1.1 0.9 1.5
Carabidae     | Viridificta lenta   | slow jewel beetle      | green teal     | plain  | 0.9 1.2 0.8
Carabidae     | Viridificta maculosa| coalspot beetle        | charcoal orange| spots  | 1.0 1.1 1.0
Chaetodontidae| Vexificta zonata    | barred pennantfish     | yellow charcoal| bands  | 1.0 1.0 1.0
Chaetodontidae| Vexificta punctata  | freckled pennantfish   | white orange   | spots  | 0.9 1.2 1.3
Chaetodontidae| Lunificta marina    | moon pennantfish       | blue yellow    | veins  | 1.0 0.9 0.8
Ranidae       | Paludificta vulgata | common mirefrog        | green olive    | spots  | 1.0 1.0 1.0
Ranidae       | Paludificta fusca   | leaf mirefrog          | brown sand     | mottle | 1.1 0.9 1.0
Ranidae       | Gemmificta lucida   | glasswort frog         | teal green     | plain  | 0.9 1.1 0.9
Araneidae     | Retificta crucis    | barred orbspinner      | rust cream     | bands  | 1.0 1.0 1.0
Araneidae     | Retificta citrina   | lemon orbspinner       | yellow charcoal| rings  | 1.1 0.9 1.1
Araneidae     | Telificta murina    | mouse-grey weaver      | grey brown     | mottle | 0.9 1.2 0.9
Felidae       | Umbrificta silvae   | thicket cat            | sand brown     | spots  | 1.0 1.0 1.0
Felidae       | Umbrificta striata  | ribbon cat             | orange charcoal| bands  | 1.0 1.0 1.1
Felidae       | Pruinificta cana    | hoar cat               | grey white     | counter| 0.9 1.2 0.9
Colubridae    | Flexificta graminis | meadow ribbonsnake     | olive yellow   | veins  | 1.0 0.9 1.0
Colubridae    | Flexificta annulata | ringed ribbonsnake     | charcoal cream | bands  | 1.0 1.1 1.0
Colubridae    | Arenificta tacita   | hush sandsnake         | sand rust      | mottle | 1.0 1.2 0.9
Anatidae      | Lacuficta vagans    | wandering pondling     | brown green    | mottle | 1.0 1.0 0.9
Anatidae      | Lacuficta alba      | chalk pondling         | white grey     | plain  | 1.0 1.0 1.2
Anatidae      | Rubrificta rubida   | ruddy nert             | rust teal      | counter| 0.9 1.1 0.8
Asteriidae    | Stellificta rubra   | ember star             | red cream      | plain  | 1.0 1.0 1.0
Asteriidae    | Stellificta gemmata | studded star           | purple orange  | spots  | 1.0 1.2 1.4
Lacertidae    | Saxificta viridis   | emerald wall-runner    | green brown    | spots  | 1.0 1.0 1.0
Lacertidae    | Saxificta cinerea   | ash wall-runner        | grey charcoal  | veins  | 1.1 0.9 0.9
Lacertidae    | Flammificta brevis  | stub-tailed flamelet   | rust yellow    | bands  | 0.8 1.2 1.1
Helicidae     | Volvificta hortorum | garden curl            | cream brown    | rings  | 1.0 1.0 1.0
Helicidae     | Volvificta alta     | tall curl              | brown cream    | bands  | 0.9 1.0 1.1
Cheloniidae   | Pelagificta oceani  | ocean paddler          | olive sand     | mottle | 1.0 1.0 1.0
Cheloniidae   | Pelagificta testacea| tile-backed paddler    | rust cream     | plain  | 1.0 1.1 0.9
Cervidae      | Silvificta celsa    | high-crowned deer      | brown cream    | counter| 1.0 1.0 1.1
Cervidae      | Silvificta guttata  | dappled deer           | rust white     | spots  | 0.9 1.1 0.8
Accipitridae  | Caelificta lata     | broad glider           | brown cream    | bands  | 1.0 1.0 1.0
Accipitridae  | Caelificta plumbea  | leaden glider          | grey white     | counter| 1.1 0.9 0.9
Pelagiidae    | Campanificta maris  | sea bellflower         | purple white   | veins  | 1.0 1.0 1.0
Pelagiidae    | Campanificta rosea  | rosy bellflower        | pink cream     | spots  | 0.9 1.1 1.2
"""


def _rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


def _species_of(family: str, above: str) -> Iterator[Species]:
    """Yield the species of one family, in table order."""
    for name, binomial, common_name, colours, pattern, proportions in _rows(_SPECIES):
        if name == family:
            build = Build(*map(float, proportions.split()))
            ranks = ("Animalia", *above.split(), family, *binomial.split())
            main, second = colours.split()
            yield Species(ranks, common_name, Look(main, second, pattern, build))


FAMILIES: tuple[Family, ...] = tuple(
    Family(name, plan, upright == "yes", tuple(habitats.split()), tuple(_species_of(name, above)))
    for name, above, plan, upright, habitats in _rows(_FAMILIES)
)
SPECIES: tuple[Species, ...] = tuple(s for family in FAMILIES for s in family.species)
