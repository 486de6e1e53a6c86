r"""Letters that pose as others, in what an approver reads: shown as \u{430}.

Three kinds: a letter of another script inside a word of Latin letters; a whole word of letters that
all look Latin, in a text that has no other word of their script; a sign whose plain form is ASCII
(full width, mathematical, a slash that is none). Text that is honestly of another script is left as
it is. The table is short on purpose: it is of the scripts whose letters are taken for Latin ones.
Pure; never raises.
"""

import re
import unicodedata

# What is taken for a Latin letter: Cyrillic, Greek, Armenian.
_LIKE_LATIN = frozenset(
    "аеорсухіјѕһԁԛԝӏьѵвкмнтгпиАВЕЅІЈКМНОРСТУХЬҮԌԚԜѴονραικτυωγχϲΑΒΕΖΗΙΚΜΝΟΡΤΥΧϹօսոհցզԁՕՏՍ"
)
_POSING_SCRIPTS = frozenset({"CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC", "LISU"})
_POSING_SIGNS = frozenset(
    "\u2024\u2044\u2215\u2236\u29f8\u2216\u29f5\ua789\u02d0\u2223\u01c0\u0131"
)
_FULL_WIDTH = range(0xFF01, 0xFF5F)
_IDEOGRAPHIC = ("CJK", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO")
_WORD = re.compile(r"[^\W_]+")


def revealed(text: str) -> str:
    """The text with the letters that pose written as their numbers."""
    if text.isascii():
        return text
    own = _own_scripts(text)
    shown = _WORD.sub(lambda found: _word(found[0], own), text)
    wide = any(_script(one).startswith(_IDEOGRAPHIC) for one in text if not one.isascii())
    return "".join(_number(one) if _poses(one, wide=wide) else one for one in shown)


def _own_scripts(text: str) -> frozenset[str]:
    """The scripts of which the text has a word that cannot be taken for Latin."""
    words = (set(word) for word in _WORD.findall(text) if not word.isascii())
    honest = (word for word in words if not any(_is_latin(one) for one in word))
    return frozenset(_script(one) for word in honest for one in word - _LIKE_LATIN)


def _word(word: str, own: frozenset[str]) -> str:
    if word.isascii():
        return word
    mixed = any(_is_latin(one) for one in word)
    alike = all(one in _LIKE_LATIN or one.isdigit() for one in word)
    if not mixed and not alike:
        return word
    return "".join(
        _number(one) if _is_foreign(one) and (mixed or _script(one) not in own) else one
        for one in word
    )


def _poses(character: str, *, wide: bool) -> bool:
    """A sign that is not what it looks like, whatever is around it."""
    if character.isascii():
        return False
    if ord(character) in _FULL_WIDTH:
        return not wide
    plain = unicodedata.normalize("NFKC", character)
    is_letter = len(plain) == 1 and plain.isascii() and plain.isalpha()
    return character in _POSING_SIGNS or (is_letter and unicodedata.category(character)[0] == "L")


def _is_latin(character: str) -> bool:
    return _script(character) == "LATIN"


def _is_foreign(character: str) -> bool:
    return _script(character) in _POSING_SCRIPTS


def _script(character: str) -> str:
    """The first word of the character's name, which is its script where it has one."""
    return unicodedata.name(character, "").partition(" ")[0]


def _number(character: str) -> str:
    return f"\\u{{{ord(character):x}}}"
