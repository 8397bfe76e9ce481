"""``regimeshift serve`` in a process of its own."""

import json
import os
import signal
import subprocess
import sys

import requests

JSON = {"Content-Type": "application/json"}


class Served:
    """A server of a registered model, whose store is ``mlruns`` in `folder`."""

    def __init__(self, folder, model, *options):
        environment = {k: v for k, v in os.environ.items() if not k.startswith("MLFLOW_")}
        self.folder = folder
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-m", "regimeshift", "serve", model, "--port", "0", *options],
            cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        line = self.process.stdout.readline()
        assert " is served on http://" in line, line + self.process.stderr.read()
        self.address = line.split(" is served on ")[1].split(" ")[0]
        self.session = requests.Session()

    def post(self, body, headers=JSON):
        body = json.dumps(body) if isinstance(body, dict) else body
        return self.session.post(f"{self.address}/invocations", data=body, headers=headers, timeout=60)

    def decide(self, row):
        """The answer to a row that is no cause for complaint."""
        done = self.post({"dataframe_records": [row]})
        assert done.status_code == 200, done.text
        return done.json()["predictions"][0]

    def get(self, path):
        return self.session.get(self.address + path, timeout=60)

    def end(self):
        """Ctrl-C; returns what was printed and the exit status."""
        self.process.send_signal(signal.SIGINT)
        out, err = self.process.communicate(timeout=60)
        return out, err, self.process.returncode
