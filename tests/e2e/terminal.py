"""What programs draw on a terminal: runs a command on one of its own and replays what it wrote.

Screen keeps rows of characters as a terminal does that knows the few sequences that we send: carriage return, line end, erase to
the end of the line (ESC[K) or of the screen (ESC[J), cursor up (ESC[nA). A character beyond the last column is noted as a wrap, since a line that
wraps cannot be written over.
"""
import fcntl, os, pty, re, struct, subprocess, termios


class Screen:
    def __init__(self, columns):
        self.columns, self.rows, self.row, self.column, self.wraps = columns, [""], 0, 0, []

    def put(self, char):
        if self.column >= self.columns:
            self.wraps.append(self.rows[self.row])
        line = self.rows[self.row].ljust(self.column)
        self.rows[self.row] = line[:self.column] + char + line[self.column + 1:]
        self.column += 1

    def escape(self, number, letter):
        if letter == "A":
            self.row = max(0, self.row - int(number or 1))
        elif letter == "K":
            self.rows[self.row] = self.rows[self.row][:self.column]
        elif letter == "J":
            self.rows[self.row] = self.rows[self.row][:self.column]
            del self.rows[self.row + 1:]
        else:
            raise ValueError(f"a terminal may not know ESC[{number}{letter}")

    def replay(self, text):
        for part in re.finditer(r"\x1b\[(\d*)([A-Za-z])|(.)", text, re.S):
            if part[2]:
                self.escape(part[1], part[2])
            elif part[3] == "\r":
                self.column = 0
            elif part[3] == "\n":
                self.row, self.column = self.row + 1, 0
                self.rows.extend([""] * (self.row + 1 - len(self.rows)))
            else:
                self.put(part[3])


def run(command, columns, **environment):
    """Exit status, all that was written, and the screen as it was left."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    child = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, **environment})
    os.close(theirs)
    written = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        written += part
    os.close(ours)
    screen = Screen(columns)
    screen.replay(written.decode())
    return child.wait(), written.decode(), screen
