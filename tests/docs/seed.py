"""The configuration that `stockade up` would write, with a free port in place of the default one.

Run by tests.docs.console before a page's `stockade up`: tests share the machine, and its ports.
"""

from daemon.config_file import commented_config
from stockade.home import Home

DEFAULT = '# listen = "127.0.0.1:7607"'


def main() -> None:
    """Writes it, unless the home has one."""
    home = Home.locate()
    if home.config_file.exists():
        return
    home.config.mkdir(mode=0o711)
    text = commented_config("file")
    if DEFAULT not in text:
        raise SystemExit(f"the default configuration has no line {DEFAULT!r}")
    home.config_file.write_text(text.replace(DEFAULT, 'listen = "127.0.0.1:0"'))


if __name__ == "__main__":
    main()
