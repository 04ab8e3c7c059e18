# Reads messages with Python's email package: each argument is a file. Prints what it finds as JSON.

import email
import email.policy
import json
import sys


def part(message):
    found = {
        "type": message.get_content_type(),
        "parameters": {k: v for k, v in message.get_params([])[1:]} if message["content-type"] else {},
        "disposition": message.get_content_disposition(),
        "file_name": message.get_filename(),
        "content_id": message["content-id"],
        "encoding": message["content-transfer-encoding"],
        "defects": [repr(defect) for defect in message.defects],
    }
    found["parameters"].pop("boundary", None)
    if message.is_multipart():
        found["parts"] = [part(child) for child in message.iter_parts()]
    else:
        octets = message.get_payload(decode=True)
        found["octets"] = list(octets)
    return found


def header(message):
    # Content-* belongs to the part.
    return [
        [name, str(value), [repr(defect) for defect in value.defects]]
        for name, value in message.items()
        if not name.lower().startswith("content-")
    ]


def addresses(message, name):
    return [[a.display_name, a.addr_spec] for a in message[name].addresses] if message[name] else []


def read(file):
    with open(file, "rb") as stream:
        # From a file, it would replace CR LF.
        message = email.message_from_bytes(stream.read(), policy=email.policy.default)
    return {
        "header": header(message),
        "addresses": {name: addresses(message, name) for name in ("From", "To", "Cc", "Reply-To")},
        "date": message["date"].datetime.timestamp(),
        "body": part(message),
    }


print(json.dumps([read(file) for file in sys.argv[1:]]))
