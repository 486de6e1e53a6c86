"""What a risk score was made of, in words. Pure."""

from collections.abc import Mapping


def inputs_in_words(inputs: Mapping[str, object]) -> str:
    """The inputs by name: numbers with their value, flags that are set."""
    said = []
    for name, value in sorted(inputs.items()):
        if value is True:
            said.append(name)
        elif value is not False:
            said.append(f"{name} {value}")
    return ", ".join(said)
