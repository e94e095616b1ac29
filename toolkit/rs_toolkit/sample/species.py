"""The taxonomy of the sample, and how each species looks.

Families and the ranks above them are real; genera, species and common names are invented, so
that nobody takes a drawing for evidence about a living species.
"""

from __future__ import annotations

from dataclasses import dataclass

from rs_toolkit.sample.shapes import Build

__all__ = ["FAMILIES", "SPECIES", "Family", "Look", "Species"]


@dataclass(frozen=True)
class Look:
    """What tells a species from others of its family: two colours, a pattern, proportions."""

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
    """A family: its body plan, whether it keeps upright in photos, and where it lives."""

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
Nymphalidae   | Ignaria solana      | tawny lantern          | orange cream   | mottle | 1.0 1.0 1.0
Nymphalidae   | Ignaria nivea       | pale lantern           | cream brown    | veins  | 0.9 1.1 0.9
Nymphalidae   | Velopsis caerula    | marsh sapphire         | blue white     | plain  | 1.1 0.9 1.0
Nymphalidae   | Velopsis umbrata    | umber sailwing         | brown orange   | rings  | 1.0 1.1 1.2
Paridae       | Parulus hortensis   | garden pipkin          | olive yellow   | plain  | 1.0 1.0 1.0
Paridae       | Parulus nivalis     | frost pipkin           | grey white     | counter| 0.9 1.1 0.8
Paridae       | Cristatus rufus     | rufous hoodling        | rust charcoal  | plain  | 1.0 0.9 1.3
Paridae       | Cristatus aureus    | golden hoodling        | yellow olive   | bands  | 1.1 1.0 1.1
Carabidae     | Caerambus arundinis | blue-banded reed beetle| blue charcoal  | bands  | 1.0 1.0 1.0
Carabidae     | Caerambus ferox     | rust ground beetle     | rust brown     | veins  | 1.1 0.9 1.5
Carabidae     | Viridium lentum     | slow jewel beetle      | green teal     | plain  | 0.9 1.2 0.8
Carabidae     | Viridium maculosum  | coalspot beetle        | charcoal orange| spots  | 1.0 1.1 1.0
Chaetodontidae| Vexilla zonata      | barred pennantfish     | yellow charcoal| bands  | 1.0 1.0 1.0
Chaetodontidae| Vexilla punctata    | freckled pennantfish   | white orange   | spots  | 0.9 1.2 1.3
Chaetodontidae| Lunaria marina      | moon pennantfish       | blue yellow    | veins  | 1.0 0.9 0.8
Ranidae       | Palustra vulgata    | common mirefrog        | green olive    | spots  | 1.0 1.0 1.0
Ranidae       | Palustra fusca      | leaf mirefrog          | brown sand     | mottle | 1.1 0.9 1.0
Ranidae       | Gemmarana lucida    | glasswort frog         | teal green     | plain  | 0.9 1.1 0.9
Araneidae     | Retiola crucis      | barred orbspinner      | rust cream     | bands  | 1.0 1.0 1.0
Araneidae     | Retiola citrina     | lemon orbspinner       | yellow charcoal| rings  | 1.1 0.9 1.1
Araneidae     | Telaria murina      | mouse-grey weaver      | grey brown     | mottle | 0.9 1.2 0.9
Felidae       | Umbrafelis silvae   | thicket cat            | sand brown     | spots  | 1.0 1.0 1.0
Felidae       | Umbrafelis striata  | ribbon cat             | orange charcoal| bands  | 1.0 1.0 1.1
Felidae       | Pruinofelis cana    | hoar cat               | grey white     | counter| 0.9 1.2 0.9
Colubridae    | Flexura graminis    | meadow ribbonsnake     | olive yellow   | veins  | 1.0 0.9 1.0
Colubridae    | Flexura annulata    | ringed ribbonsnake     | charcoal cream | bands  | 1.0 1.1 1.0
Colubridae    | Arenophis tacita    | hush sandsnake         | sand rust      | mottle | 1.0 1.2 0.9
Anatidae      | Lacustris vagans    | wandering pondling     | brown green    | mottle | 1.0 1.0 0.9
Anatidae      | Lacustris alba      | chalk pondling         | white grey     | plain  | 1.0 1.0 1.2
Anatidae      | Nerta rubida        | ruddy nert             | rust teal      | counter| 0.9 1.1 0.8
Asteriidae    | Stellula rubra      | ember star             | red cream      | plain  | 1.0 1.0 1.0
Asteriidae    | Stellula gemmata    | studded star           | purple orange  | spots  | 1.0 1.2 1.4
Lacertidae    | Saxicola viridis    | emerald wall-runner    | green brown    | spots  | 1.0 1.0 1.0
Lacertidae    | Saxicola cinerea    | ash wall-runner        | grey charcoal  | veins  | 1.1 0.9 0.9
Lacertidae    | Ignilacerta brevis  | stub-tailed flamelet   | rust yellow    | bands  | 0.8 1.2 1.1
Helicidae     | Volvella hortorum   | garden curl            | cream brown    | rings  | 1.0 1.0 1.0
Helicidae     | Volvella alta       | tall curl              | brown cream    | bands  | 0.9 1.0 1.1
Cheloniidae   | Pelagemys oceani    | ocean paddler          | olive sand     | mottle | 1.0 1.0 1.0
Cheloniidae   | Pelagemys testacea  | tile-backed paddler    | rust cream     | plain  | 1.0 1.1 0.9
Cervidae      | Silvocervus altus   | high-crowned deer      | brown cream    | counter| 1.0 1.0 1.1
Cervidae      | Silvocervus guttatus| dappled deer           | rust white     | spots  | 0.9 1.1 0.8
Accipitridae  | Caelornis latus     | broad glider           | brown cream    | bands  | 1.0 1.0 1.0
Accipitridae  | Caelornis plumbeus  | leaden glider          | grey white     | counter| 1.1 0.9 0.9
Pelagiidae    | Campanula maris     | sea bellflower         | purple white   | veins  | 1.0 1.0 1.0
Pelagiidae    | Campanula rosea     | rosy bellflower        | pink cream     | spots  | 0.9 1.1 1.2
"""


def _rows(table: str) -> list[list[str]]:
    return [[cell.strip() for cell in line.split("|")] for line in table.strip().splitlines()]


def _species_of(family: str, above: str) -> tuple[Species, ...]:
    """Return the species rows of one family, in table order."""
    found = []
    for name, binomial, common_name, colours, pattern, proportions in _rows(_SPECIES):
        if name != family:
            continue
        main, second = colours.split()
        build = Build(*map(float, proportions.split()))
        ranks = ("Animalia", *above.split(), family, *binomial.split())
        found.append(Species(ranks, common_name, Look(main, second, pattern, build)))
    return tuple(found)


FAMILIES: tuple[Family, ...] = tuple(
    Family(name, plan, upright == "yes", tuple(habitats.split()), _species_of(name, above))
    for name, above, plan, upright, habitats in _rows(_FAMILIES)
)
SPECIES: tuple[Species, ...] = tuple(s for family in FAMILIES for s in family.species)
