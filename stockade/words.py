"""The words by which two people compare a key. Frozen: the n-th word means the byte n.

Pure, and shared by both ends of a pairing, which must show the same text for the same key.

Composed for this project: plain English nouns and adjectives of three to eight letters, sorted,
no two alike in their first three letters, none one letter away from another. Both ends of a
pairing show words from this list, so changing one word breaks pairing with older clients; a test
pins the digest of the list.

How many words. At pairing an attacker who sits between device and daemon needs a key of their
own whose words equal those of the honest device's key: a second preimage, one fixed target, and
each trial is one point addition and one hash, about 10^9 a second on one graphics card. Six words
(48 bits) fall in about three days on one card, or within the ten minutes of a pairing on a few
hundred: too weak. Eight words (64 bits) take one card about 580 years, or thirty million cards ten
minutes, and are still read aloud in one breath. Collisions (2^32 work) do not help: both keys of a
colliding pair would be the attacker's, and the device under comparison shows its own. The words
are the second fence in any case; the pairing code's 128 bits are the first.
"""

from typing import Final

_LIST: Final = """
acorn actor album almond amber angel ankle apple apron arrow attic autumn bacon badge banjo
barrel basket bench bike bird blanket blossom boat bonfire bottle bridge brush bubble bucket
button cabin cactus camel candle castle cedar cellar chalk cherry circus cloud coffee comet
copper coral cotton crayon cricket crown curtain daisy dancer delta denim desk diary dinner
doctor dolphin domino dragon dream drum duck eagle earth echo elbow elder elephant emerald
engine fabric falcon farmer feather fence fiddle finger flag flute forest fossil fox frost fruit
garden gate giant giraffe glacier glove grape guitar hammer harbor hat hazel helmet hill honey
hook horse hunter igloo iron island ivory jacket jaguar jasmine jelly jewel jigsaw juice jungle
kayak kennel kettle king kitten kiwi ladder lake lamp lantern lemon letter lily lion lobster
lotus lumber lunar magnet mango marble meadow melon mint mirror monkey mountain mud muffin
napkin nature nectar needle nest nickel noodle north novel nutmeg oak oasis ocean olive onion
opera orange orbit orchid otter oven owl oyster palace panda paper parrot pebble pencil pepper
piano pigeon planet poem pony potato pumpkin puzzle quail queen quilt rabbit radio raft rain
raven ribbon river robin rocket ruby rug saddle salmon scarf shadow silver sister skate sky snow
soap sofa spoon spring squirrel stone summer swan table tailor teapot temple tent ticket tiger
timber toast tomato tower trumpet tulip tunnel turtle umbrella umpire urchin valley vanilla vase
velvet vinegar violin volcano wagon walnut wasp water whale wheat willow window wizard wolf wool
yacht yellow yogurt zebra zinc zipper
"""

WORDS: Final[tuple[str, ...]] = tuple(_LIST.split())

WORD_COUNT: Final = 8  # 8 words of 8 bits: 64 bits


def words(fingerprint: str) -> str:
    """The first 64 bits of a fingerprint (hex) as eight words joined by hyphens."""
    return "-".join(WORDS[byte] for byte in bytes.fromhex(fingerprint)[:WORD_COUNT])
