"""Attach to a debug adapter, set breakpoints in one file, print `armed`, and stay.

It ends when the program stops at a breakpoint or ends, or when the adapter does.

Usage: dap_client.py PORT FILE BREAKPOINTS
BREAKPOINTS is a JSON list of what the protocol calls source breakpoints.
"""

import json
import socket
import sys


def main():
    port, path, breakpoints = sys.argv[1:]
    connection = socket.create_connection(("127.0.0.1", int(port)))
    incoming = connection.makefile("rb")
    sent = 0

    def send(command, arguments):
        nonlocal sent
        sent += 1
        request = {"seq": sent, "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(request).encode()
        connection.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)

    def receive():
        length = 0
        while header := incoming.readline().strip():
            name, _, value = header.partition(b":")
            if name == b"Content-Length":
                length = int(value)
        if length == 0:
            sys.exit(0)
        return json.loads(incoming.read(length))

    def until(kind, *names):
        while True:
            message = receive()
            if message["type"] == kind and message.get("command", message.get("event")) in names:
                return message

    send("initialize", {"adapterID": "bench", "clientID": "bench", "pathFormat": "path"})
    until("response", "initialize")
    send("attach", {"justMyCode": True})
    until("event", "initialized")
    asked = json.loads(breakpoints)
    send("setBreakpoints", {"source": {"path": path}, "breakpoints": asked})
    placed = until("response", "setBreakpoints")["body"]["breakpoints"]
    if not all(point["verified"] for point in placed):
        sys.exit(f"not verified: {placed}")
    send("configurationDone", {})
    until("response", "configurationDone")
    print("armed", flush=True)
    until("event", "stopped", "terminated")


if __name__ == "__main__":
    main()
