"""What the benches have in common: the server they measure, data directories, and how figures are told.

Each is told beside its bound, in a line that ends with "ok" or "MISSED". BENCH_BINARY names the builder-web to measure,
BENCH_DIR a directory with room; without them it is the release build, which is made, and a directory of the system's.
"""
import contextlib, hashlib, http.client, json, os, random, shutil, signal, socket, sqlite3, statistics, subprocess, sys, tempfile, time, urllib.parse, urllib.request, uuid

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
RELEASE = os.path.join(os.environ.get("CARGO_TARGET_DIR", os.path.join(ROOT, "target")), "release")
BINARY = os.environ.get("BENCH_BINARY") or os.path.join(RELEASE, "builder-web")
CREDENTIALS = "builder:demo"
MIB = 1 << 20
missed = []


def build(*arguments):
    """Makes the release build that is measured, or what the arguments of cargo say."""
    if arguments or "BENCH_BINARY" not in os.environ:
        subprocess.run(["cargo", "build", "--release", "--quiet", *arguments], cwd=ROOT, check=True)


@contextlib.contextmanager
def scratch():
    """A directory for as long as it is used."""
    home = tempfile.mkdtemp(prefix="builder-web-bench-", dir=os.environ.get("BENCH_DIR"))
    try:
        yield home
    finally:
        shutil.rmtree(home, ignore_errors=True)


def end():
    """Ends the run: with status 1 when a figure was out of bounds."""
    print("load average %.1f" % os.getloadavg()[0])
    if missed:
        print("out of bounds: " + ", ".join(missed))
    sys.exit(1 if missed else 0)


def report(what, figure, bound, ok):
    print("%-52s %-44s %-22s %s" % (what, figure, bound, "ok" if ok else "MISSED"), flush=True)
    if not ok:
        missed.append(what)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Server:
    """builder-web on a data directory."""

    def __init__(self, datadir, *options):
        self.port = free_port()
        self.base = "http://127.0.0.1:%d" % self.port
        self.log = open(os.path.join(tempfile.gettempdir(), "builder-web-bench.log"), "ab")
        command = [BINARY, "-d", datadir, "-c", datadir, "-p", str(self.port), "--expired-jobs", "0", "--log-level", "warn"]
        self.process = subprocess.Popen(command + list(options), stdout=self.log, stderr=self.log)
        for _ in range(200):
            try:
                urllib.request.urlopen(self.base + "/robots.txt").read()
                return
            except OSError:
                time.sleep(0.05)
        sys.exit("the server does not answer; see " + self.log.name)

    def memory(self, field):
        for line in open("/proc/%d/status" % self.process.pid):
            if line.startswith(field + ":"):
                return int(line.split()[1]) * 1024
        return 0

    def json(self, path):
        request = urllib.request.Request(self.base + path, headers={"Accept": "application/json"})
        return json.load(urllib.request.urlopen(request))

    def ticks(self):
        """Processor time that it has had, in ticks of the clock."""
        return sum(map(int, open("/proc/%d/stat" % self.process.pid).read().rsplit(")", 1)[1].split()[11:13]))

    def rest(self, seconds=300):
        """Waits until it has derived what it derives in the background after its start."""
        for _ in range(seconds):
            before = self.ticks()
            time.sleep(1)
            if self.ticks() - before <= os.sysconf("SC_CLK_TCK") // 50:
                return

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()


def new_datadir(home, name):
    datadir = os.path.join(home, name)
    subprocess.run([BINARY, "db", "migrate", "-d", datadir], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([BINARY, "db", "user-add", "-d", datadir, "--unrestricted", "builder"], input=b"demo\n", check=True, stdout=subprocess.DEVNULL)
    return datadir


def demo_datadir(home):
    """The demo's directory, filled and left."""
    datadir = os.path.join(home, "demo")
    port = str(free_port())
    demo = subprocess.Popen([BINARY, "demo", "-d", datadir, "-p", port, "--log-level", "warn"], stdout=subprocess.DEVNULL)
    while True:
        try:
            urllib.request.urlopen("http://127.0.0.1:%s/" % port).read()
            break
        except OSError:
            time.sleep(0.1)
    demo.send_signal(signal.SIGTERM)
    demo.wait()
    return datadir


def grow(datadir, jobs, builds, whole=False):
    """Adds many builds that share the artifacts of the demo's, but for the main binary: of that every third build has one of
    its own, which is a few bytes long; or `whole`, that of the demo's with those bytes behind it."""
    db = sqlite3.connect(os.path.join(datadir, "builder.sqlite3"))
    chance = random.Random(11)
    rows = db.execute("SELECT b.id, b.console, b.script, b.input_id, b.user FROM build b WHERE b.main_binary IS NOT NULL AND b.input_id IS NOT NULL ORDER BY b.id").fetchall()
    files = {row[0]: db.execute("SELECT filepath, sha256, size FROM build_artifact WHERE build = ? ORDER BY id", (row[0],)).fetchall() for row in rows}
    tag = {name: db.execute("SELECT id FROM tag WHERE tag = ?", (name,)).fetchone()[0] for name in ("section", "synopsis")}
    for number in range(jobs):
        name = "grown-%04d" % number
        job = db.execute("INSERT INTO job (name) VALUES (?)", (name,)).lastrowid
        db.execute("INSERT INTO job_tag (tag, value, job) VALUES (?, ?, ?)", (tag["section"], chance.choice(["Unikernels", "Packages"]), job))
        db.execute("INSERT INTO job_tag (tag, value, job) VALUES (?, ?, ?)", (tag["synopsis"], "Grown job number %d" % number, job))
        for turn in range(builds):
            template, console, script, input_id, user = rows[(number + turn // 6) % len(rows)]
            failed = chance.random() < 0.06
            day = 20000 + turn
            content = b"%d %d" % (number, turn // 3)
            if whole:
                name = files[template][0][1].hex()
                with open(os.path.join(datadir, "_artifacts", name[:2], name), "rb") as binary:
                    content = binary.read() + content
            output = hashlib.sha256(content).digest()
            build = db.execute("INSERT INTO build (uuid, start_d, start_ps, finish_d, finish_ps, result_code, console, script, platform, user, job, input_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                               (str(uuid.UUID(int=chance.getrandbits(128), version=4)), day, chance.randrange(80000) * 10 ** 12, day, 86000 * 10 ** 12, int(failed), console, script,
                                chance.choice(["debian-12", "debian-13", "freebsd-14.2"]), user, job, hashlib.sha256(input_id + output).digest())).lastrowid
            for index, (path, sha256, size) in enumerate(files[template]):
                if index == 0 and failed:
                    continue
                artifact = db.execute("INSERT INTO build_artifact (filepath, sha256, size, build) VALUES (?, ?, ?, ?)", (path, output if index == 0 else sha256, len(content) if index == 0 else size, build)).lastrowid
                if index == 0:
                    db.execute("UPDATE build SET main_binary = ? WHERE id = ?", (artifact, build))
                    place = os.path.join(datadir, "_artifacts", output.hex()[:2], output.hex())
                    if not os.path.exists(place):
                        os.makedirs(os.path.dirname(place), exist_ok=True)
                        with open(place, "wb") as out:
                            out.write(content)
    db.commit()
    db.close()


def head(tag, length):
    """What a DER value begins with."""
    digits = length.to_bytes((length.bit_length() + 7) // 8, "big")
    return bytes([tag, length] if length < 128 else [tag, 0x80 | len(digits)]) + (b"" if length < 128 else digits)


def der(tag, *parts):
    """A DER value of these bytes."""
    return head(tag, sum(map(len, parts))) + b"".join(parts)


def text(content):
    """A text or bytes, as an exec file has them."""
    return der(0x0C, content.encode() if isinstance(content, str) else content)


def before_files():
    """The name of a new build, and what an exec file has before its files."""
    identity = uuid.uuid4()
    job = der(0x30, text("bench"), text("true\n"), der(0x30), text("debian-12"))
    times = der(0x30, der(0x18, b"20260602031000Z"), der(0x18, b"20260602031000Z"))
    return identity, job + text(identity.bytes) + der(0x30) + times + der(0xA0, der(0x02, b"\0"))


def exec_of(files):
    """The name of a new build, and an exec file with these files, by path."""
    identity, before = before_files()
    data = der(0x30, *[der(0x30, text(path), text(content)) for path, content in files.items()])
    return identity, der(0xA0, der(0x30, before, data))


def upload_file(server, path):
    begin = time.perf_counter()
    code = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", "-u", CREDENTIALS, "-X", "POST", "-T", path, server.base + "/upload"],
                          stdout=subprocess.PIPE, check=True).stdout
    if code != b"201":
        sys.exit("an upload was answered %s" % code.decode())
    return time.perf_counter() - begin


def milliseconds(url, count=30, headers={}):
    """The median time of one request after the other, each on a connection that is there."""
    address = urllib.parse.urlsplit(url)
    target = address.path + ("?" + address.query if address.query else "")
    connection = http.client.HTTPConnection(address.hostname, address.port)
    times = []
    for _ in range(count):
        begin = time.perf_counter()
        connection.request("GET", target, headers=headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 200:
            sys.exit("%s was answered %d" % (url, answer.status))
        times.append((time.perf_counter() - begin) * 1000)
    return statistics.median(times)
