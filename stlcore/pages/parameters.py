"""The types of a page's parameters, and the profiles that set their sizes."""

from __future__ import annotations

import ast
import json
import math
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Annotated, Any, NamedTuple, get_args

from stlcore.pages import repository

__all__ = [
    "TYPES",
    "AtLeast",
    "Between",
    "Count",
    "Counts",
    "Flag",
    "Place",
    "Positive",
    "Probabilities",
    "Probability",
    "Profile",
    "Seed",
    "Text",
    "Within",
    "by_profile",
    "check_value",
    "find_type",
    "read_value",
]

PROFILES = ("quick", "paper")


class Rule(NamedTuple):
    """What a parameter's value must be: a Python type, a range, a sentence that says so."""

    kind: type
    low: float
    high: float
    words: str
    low_open: bool = False
    high_open: bool = False
    many: bool = False


Count = Annotated[int, Rule(int, 1, math.inf, "a whole number from 1 up")]
Seed = Annotated[int, Rule(int, 0, math.inf, "a whole number from 0 up")]
Probability = Annotated[float, Rule(float, 0, 1, "a number in [0, 1]")]
Positive = Annotated[float, Rule(float, 0, math.inf, "a number above 0", low_open=True)]
Counts = Annotated[list, Rule(int, 1, math.inf, "a list of whole numbers from 1 up", many=True)]
Probabilities = Annotated[list, Rule(float, 0, 1, "a list of numbers in [0, 1]", many=True)]
Flag = Annotated[bool, Rule(bool, 0, 1, "true or false")]
Text = Annotated[str, Rule(str, 0, 0, "a text")]
Place = Annotated[str, Rule(str, 0, 0, "the path of a file or folder")]
Profile = Annotated[str, Rule(str, 0, 0, "'quick' or 'paper'")]


class AtLeast:
    """``AtLeast[20]``: a whole number from 20 up, what a page needs to say anything."""

    def __class_getitem__(cls, low: int) -> Any:
        return Annotated[int, Rule(int, low, math.inf, f"a whole number from {low} up")]


def _in_parts(low: int, high: int, parts: int = 1) -> tuple[float, float]:
    """Both ends as numbers: papermill reads no type with a decimal point."""
    return (low, high) if parts == 1 else (low / parts, high / parts)


class Between:
    """``Between[0, 1]``: a number strictly between; ``Between[5, 100, 100]``: .05 and 1."""

    def __class_getitem__(cls, ends: tuple[int, ...]) -> Any:
        low, high = _in_parts(*ends)
        words = f"a number between {low:g} and {high:g}, neither of them"
        return Annotated[float, Rule(float, low, high, words, low_open=True, high_open=True)]


class Within:
    """``Within[3, 10, 10]``: a number from 3/10 to 10/10, both among them."""

    def __class_getitem__(cls, ends: tuple[int, ...]) -> Any:
        low, high = _in_parts(*ends)
        return Annotated[float, Rule(float, low, high, f"a number in [{low:g}, {high:g}]")]


#: The annotations a parameters cell may use, by name.
TYPES = {
    "AtLeast": AtLeast,
    "Between": Between,
    "Count": Count,
    "Counts": Counts,
    "Flag": Flag,
    "Place": Place,
    "Positive": Positive,
    "Probabilities": Probabilities,
    "Probability": Probability,
    "Profile": Profile,
    "Seed": Seed,
    "Text": Text,
    "Within": Within,
}


def _fits(value: Any, rule: Rule) -> bool:
    if rule.many:
        single = rule._replace(many=False)
        return (
            isinstance(value, list | tuple)
            and len(value) > 0
            and all(_fits(entry, single) for entry in value)
        )
    if rule.kind in (str, bool):
        return isinstance(value, rule.kind)
    accepted = Integral if rule.kind is int else Real  # those of numpy, too
    if isinstance(value, bool) or not isinstance(value, accepted):
        return False
    above = value > rule.low if rule.low_open else value >= rule.low
    below = value < rule.high if rule.high_open else value <= rule.high
    return bool(above and below and value < math.inf)


def find_type(annotation: str) -> Any:
    """The type that an annotation of a parameters cell means; LookupError if it is none."""
    node = ast.parse(annotation, mode="eval").body
    if isinstance(node, ast.Subscript):
        return TYPES[ast.unparse(node.value)][ast.literal_eval(node.slice)]
    return TYPES[annotation]


def check_value(name: str, annotation: Any, value: Any) -> None:
    """Raise ValueError, in one sentence, unless ``value`` fits the annotation."""
    rule = get_args(annotation)[1]
    fits = value in PROFILES if annotation is Profile else _fits(value, rule)
    if not fits:
        raise ValueError(f"{name} must be {rule.words}, not {value!r}")


def read_value(name: str, annotation: Any, word: str, default: Any = None) -> Any:
    """A parameter's value from a word of the command line; the declared type decides.

    A text is taken as it is, whatever it looks like. Numbers are decimal: ``010`` is ten.
    A path means what it means to the caller; inside the repository it is written from its
    root, where pages run. The names that a page knows, its defaults, are no paths.

    Parameters
    ----------
    name : str
        The parameter's name, for messages.
    annotation
        Its type.
    word : str
        What was typed.
    default
        Its default, a plain value or by profile.

    Raises
    ------
    ValueError
        In one sentence, if the word cannot be such a value.
    """
    rule = get_args(annotation)[1]
    try:
        value = _read(rule, word)
    except ValueError:
        raise ValueError(f"{name} must be {rule.words}, not {word!r}") from None
    if annotation is Place:
        known = (default.quick, default.paper) if isinstance(default, by_profile) else (default,)
        value = word if word in ("", *known) else _from_root(word)
    check_value(name, annotation, value)
    return value


def _from_root(word: str) -> str:
    path = Path(word).expanduser().absolute()
    inside = path.is_relative_to(repository.ROOT)
    return str(path.relative_to(repository.ROOT) if inside else path)


def _read(rule: Rule, word: str) -> Any:
    if rule.many:
        return json.loads(word)
    if rule.kind is bool:
        return {"true": True, "false": False}.get(word.lower(), word)
    return rule.kind(word)


@dataclass(frozen=True)
class by_profile:
    """A default that depends on the profile: that of ``quick``, and that of ``paper``.

    Written without their names, ``by_profile(50, 200)``: papermill reads no line with a second
    equals sign, and would warn of parameters that it does not know.
    """

    quick: Any
    paper: Any
