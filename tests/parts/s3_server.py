"""An S3 server for tests: moto, with users that may do different things.

Prints one line of JSON once it listens, and ends when its standard input does, so that it never
outlives the test that started it. Signatures and rights are checked from that line on.
"""

import hashlib
import hmac
import io
import json
import logging
import os
import sys
import threading

# Signatures are checked against these users alone, whatever the machine knows.
for name in [name for name in os.environ if name.startswith("AWS_")]:
    del os.environ[name]

import boto3
import requests
from moto.iam.access_control import IAMRequestBase
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

BUCKET = "baselines"
REGION = "us-east-1"


class Strict:
    """What moto leaves open: a write is one step, half a body is none, and a signature is over
    all of a request (moto leaves out the query of a listing)."""

    def __init__(self, app):
        self.app = app
        self.writing = threading.Lock()
        self.secrets = None

    def __call__(self, environ, start_response):
        announced = int(environ.get("CONTENT_LENGTH") or 0)
        body = environ["wsgi.input"].read(announced)

        def refuse(status, code, message):
            start_response(status, [("Content-Type", "application/xml")])
            text = f"<Error><Code>{code}</Code><Message>{message}</Message></Error>"
            return [text.encode()]

        if len(body) < announced:
            return refuse("400 Bad Request", "IncompleteBody", "The body is not whole.")
        if self.secrets is not None and not is_signed(environ, body, self.secrets):
            message = "The signature does not match."
            return refuse("403 Forbidden", "SignatureDoesNotMatch", message)
        environ["wsgi.input"] = io.BytesIO(body)
        if environ["REQUEST_METHOD"] != "PUT":
            return self.app(environ, start_response)
        with self.writing:
            return self.app(environ, start_response)


def is_signed(environ, body, secrets):
    """Whether a request bears the signature (version 4) of the key that it names. One that names
    no known key is left to moto, which refuses it."""
    header = environ.get("HTTP_AUTHORIZATION", "")
    parts = [part for part in header.split(" ", 1)[-1].split(",") if "=" in part]
    fields = dict(part.strip().split("=", 1) for part in parts)
    scope = fields.get("Credential", "").split("/")
    secret = secrets.get(scope[0])
    if secret is None:
        return True
    hashed = environ.get("HTTP_X_AMZ_CONTENT_SHA256", "")
    if hashed not in ("UNSIGNED-PAYLOAD", hashlib.sha256(body).hexdigest()):
        return False

    def value(name):
        name = name.upper().replace("-", "_")
        # The two that WSGI passes on without a prefix.
        plain = name in ("CONTENT_LENGTH", "CONTENT_TYPE")
        return environ.get(name if plain else f"HTTP_{name}", "")

    path, _, query = environ["REQUEST_URI"].partition("?")
    pairs = sorted(pair if "=" in pair else f"{pair}=" for pair in query.split("&") if pair)
    names = fields["SignedHeaders"].split(";")
    lines = [environ["REQUEST_METHOD"], path, "&".join(pairs)]
    lines += [f"{name}:{' '.join(value(name).split())}" for name in names]
    lines += ["", fields["SignedHeaders"], hashed]
    canonical = hashlib.sha256("\n".join(lines).encode()).hexdigest()
    date = environ.get("HTTP_X_AMZ_DATE", "")
    signed = "\n".join(["AWS4-HMAC-SHA256", date, "/".join(scope[1:]), canonical])
    key = f"AWS4{secret}".encode()
    for part in [*scope[1:], signed]:
        key = hmac.new(key, part.encode(), hashlib.sha256).digest()
    return hmac.compare_digest(key.hex(), fields["Signature"])


def main():
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    app = DomainDispatcherApplication(create_backend_app)
    strict = Strict(app)
    server = make_server("127.0.0.1", 0, strict, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    endpoint = f"http://127.0.0.1:{server.port}"
    known = {
        "endpoint_url": endpoint,
        "region_name": REGION,
        "aws_access_key_id": "root",
        "aws_secret_access_key": "root",
    }
    boto3.client("s3", **known).create_bucket(Bucket=BUCKET)
    iam = boto3.client("iam", **known)
    rights = {
        "writer": ["s3:ListBucket", "s3:GetObject", "s3:PutObject"],
        "reader": ["s3:ListBucket", "s3:GetObject"],
        "nobody": ["s3:ListAllMyBuckets"],
    }
    users = {}
    for user, actions in rights.items():
        iam.create_user(UserName=user)
        statement = {"Effect": "Allow", "Action": actions, "Resource": "*"}
        policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        iam.put_user_policy(UserName=user, PolicyName="rights", PolicyDocument=policy)
        key = iam.create_access_key(UserName=user)["AccessKey"]
        users[user] = {"id": key["AccessKeyId"], "secret": key["SecretAccessKey"]}
    strict.secrets = {user["id"]: user["secret"] for user in users.values()}
    IAMRequestBase.check_signature = lambda _: None
    requests.post(f"{endpoint}/moto-api/reset-auth", data=b"0", timeout=10).raise_for_status()
    print(json.dumps({"port": server.port, "bucket": BUCKET, "users": users}), flush=True)
    sys.stdin.read()


main()
