"""A mail server on a loopback port, as far as a client that only delivers needs one (RFC 5321)."""

import contextlib
import email
import email.policy
import socketserver
import threading


class _Session(socketserver.StreamRequestHandler):
    def handle(self):
        self._say("220 mail.test ready")
        for line in iter(self.rfile.readline, b""):
            verb = line.split()[0].upper() if line.strip() else b""
            if verb == b"DATA":
                self._say("354 go on")
                self._take()
                self._say("250 taken")
            elif verb == b"QUIT":
                self._say("221 bye")
                return
            elif verb == b"MAIL" and self.server.refuses:
                self._say("451 4.3.0 come back later")
            else:
                self._say("250 mail.test")

    def _take(self):
        lines = iter(self.rfile.readline, b".\r\n")
        text = b"".join(line.removeprefix(b".") if line.startswith(b"..") else line for line in lines)
        self.server.mails.append(email.message_from_bytes(text, policy=email.policy.default))

    def _say(self, answer):
        self.wfile.write(f"{answer}\r\n".encode())


class MailServer(socketserver.ThreadingTCPServer):
    """Keeps the mails that it has taken; while it refuses, it takes none."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), _Session)
        self.mails = []
        self.refuses = False

    @property
    def connection(self):
        """The Airflow connection to it."""
        host, port = self.server_address
        extra = {"disable_ssl": True, "disable_tls": True, "from_email": "airflow@example.com", "retry_limit": 0}
        return {"conn_type": "smtp", "host": host, "port": port, "extra": extra}


@contextlib.contextmanager
def serving():
    """Serve on a free port as long as the context lasts."""
    with MailServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


def html(mail):
    """The HTML of a mail."""
    return mail.get_body(("html",)).get_content()
