# Reads a message and prints its parts: the table of the HTML as text, files as they are.

import email
import email.policy
import html.parser
import sys


class Table(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.rows, self.title = [], ""
        self.place = None

    def handle_starttag(self, tag, attributes):
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append(["", "right" in dict(attributes).get("style", "")])
        self.place = tag

    def handle_endtag(self, tag):
        self.place = None

    def handle_data(self, data):
        if self.place in ("td", "th"):
            self.rows[-1][-1][0] += data
        elif self.place == "caption":
            self.title += data


def show(table):
    widths = [max(len(row[i][0]) for row in table.rows) for i in range(len(table.rows[0]))]
    print("    " + table.title)
    for row in table.rows:
        cells = [text.rjust(w) if right else text.ljust(w) for (text, right), w in zip(row, widths)]
        print("    | " + " | ".join(cells) + " |")


message = email.message_from_binary_file(sys.stdin.buffer, policy=email.policy.default)
for part in message.walk():
    if part.get_content_type() == "text/html":
        table = Table()
        table.feed(part.get_content())
        show(table)
    elif part.get_filename():
        print(f"    {part.get_filename()}:")
        for line in part.get_content().splitlines():
            print("    " + line)
