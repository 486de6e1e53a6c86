"""What the tiers are made of, as it is installed here, and which published escapes it has."""

from sandbox.engines.escapes import ESCAPES, Escape
from sandbox.engines.installed import ENGINES_OF, Engine, look

__all__ = ["ENGINES_OF", "ESCAPES", "Engine", "Escape", "look"]
