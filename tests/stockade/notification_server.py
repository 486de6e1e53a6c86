"""A desktop's notification service, as small as one can be: it writes down what it is shown.

Started under a session bus of its own with a file and a command: it serves, runs the command, and
ends with it.
"""

import subprocess
import sys
import threading
from pathlib import Path

from jeepney import HeaderFields, MessageType, new_method_return
from jeepney.bus_messages import message_bus
from jeepney.io.blocking import DBusConnection, open_dbus_connection

NAME = "org.freedesktop.Notifications"


def serve(connection: DBusConnection, shown: Path) -> None:
    """Answers until the connection is closed."""
    while True:
        try:
            message = connection.receive()
        except (EOFError, OSError):
            return
        member = message.header.fields.get(HeaderFields.member)
        if message.header.message_type is not MessageType.method_call:
            continue
        if member == "GetServerInformation":
            answer = new_method_return(message, "ssss", ("test", "test", "1", "1.2"))
        elif member == "GetCapabilities":
            answer = new_method_return(message, "as", (["body", "body-markup"],))
        elif member == "Notify":
            application, _, _, summary, body, *_ = message.body
            with shown.open("a") as file:
                file.write(f"{application}|{summary}|{body}\n")
            answer = new_method_return(message, "u", (1,))
        else:
            answer = new_method_return(message)
        connection.send(answer)


def main() -> int:
    """See the module."""
    shown, *command = sys.argv[1:]
    connection = open_dbus_connection("SESSION")
    connection.send_and_get_reply(message_bus.RequestName(NAME))
    threading.Thread(target=serve, args=(connection, Path(shown)), daemon=True).start()
    return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
