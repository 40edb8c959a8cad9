"""From files and environment to one Config, or to all that is wrong with them."""

from __future__ import annotations

import re
from datetime import timedelta
from importlib.metadata import version
from pathlib import Path

import pytest

from imaged.config import ConfigInvalid, load
from imaged.config.stores import FilesystemSection
from imaged.server.settings import TcpAddress, UnixAddress
from support.settings import config_of, problems_of

SECRET = "made-up-canary-7f3a"


BUCKET = "[stores.local]\ntype = 's3'\nbucket = 'images'\n"

EXPORT = "[exports.archive]\ntype = 's3'\nbucket = 'images'\n"

KEYSTONE = "[auth]\nmethod = 'keystone'\n[auth.keystone]\n"
USER = "url = 'https://h'\nusername = 'imaged'\n"
CREDENTIAL = "url = 'https://h'\napplication_credential_id = 'c'\n"

#: A file, the key that is wrong in it, and some words of what is said of it.
WRONG = [
    ("[uplods]\nmax_size = '1TiB'", "uplods", "did you mean 'uploads'?"),
    ("[wholly-other]", "wholly-other", "does not know this section; remove it, or install"),
    ("[uploads]\nmax_sise = '1TiB'", "uploads.max_sise", "did you mean 'max_size'?"),
    ("[stores.local]\nmin_fre = '1GiB'", "stores.local.min_fre", "did you mean 'min_free'?"),
    ("[stores]\ndefualt = 'local'", "stores.defualt", "did you mean 'default'?"),
    ("uploads = 3", "uploads", "must be a table"),
    ("stores = 3", "stores", "must be a table"),
    ("[stores]\nlocal = 3", "stores.local", "each store is a table"),
    ("[uploads]\nmax_size = '12'", "uploads.max_size", 'such as "256MiB"'),
    ("[uploads]\nmax_size = 12", "uploads.max_size", 'such as "256MiB"'),
    ("[uploads]\ncheck_format = 'yes'", "uploads.check_format", "must be true or false"),
    ("[uploads]\ncheck_format = 1", "uploads.check_format", "must be true or false"),
    ("[uploads]\non_failure = 'retry'", "uploads.on_failure", "'requeue' or 'kill'"),
    ("[uploads]\non_failure = ['kill']", "uploads.on_failure", "'requeue' or 'kill'"),
    ("[uploads]\nhash_algorithm = 'sha0'", "uploads.hash_algorithm", 'such as "sha512"'),
    ("[uploads]\nhash_algorithm = 'shake_128'", "uploads.hash_algorithm", 'such as "sha512"'),
    ("[uploads]\nhash_algorithm = 5", "uploads.hash_algorithm", "must be a text"),
    ("[downloads]\ndelegate = 'x-sendfile'", "downloads.delegate", "verify = false"),
    (
        "[downloads]\nverify = false\ndelegate_prefix = 'files'",
        "downloads.delegate_prefix",
        'begin and end with "/"',
    ),
    (
        (
            "[downloads]\nverify = false\ndelegate = 'x-sendfile'\n"
            "[stores.local]\ntype = 's3'\nbucket = 'abc'"
        ),
        "downloads.delegate",
        "the store local is a bucket",
    ),
    ("[scrubber]\ndelay = '1 day'", "scrubber.delay", 'such as "24h"'),
    ("[scrubber]\ndelay = 0", "scrubber.delay", 'such as "24h"'),
    ("[scrubber]\ndelay = '40000d'", "scrubber.delay", "a hundred years at most"),
    ("[scrubber]\nconcurrency = 0", "scrubber.concurrency", "1 or more"),
    ("[scrubber]\nconcurrency = 1000", "scrubber.concurrency", "256 or less"),
    ("[scrubber]\nconcurrency = '4'", "scrubber.concurrency", "a whole number"),
    ("[reconcile]\nmax_share = 1.1", "reconcile.max_share", "1 or less"),
    ("[reconcile]\nmax_share = 'all'", "reconcile.max_share", "a number"),
    ("[daemon]\nroles = []", "daemon.roles", "must not be empty"),
    ("[daemon]\nroles = 'api'", "daemon.roles", "must be a list"),
    ("[daemon]\nroles = ['api', 'cook']", "daemon.roles", "'api', 'scrubber' or 'tasks'"),
    ("[api]\nbind = ['nowhere']", "api.bind", '"host:port"'),
    ("[api]\nbind = ['127.0.0.1:70000']", "api.bind", "a port from 1 to 65535"),
    ("[api]\npublic_url = 'http://a:70000'", "api.public_url", "a port from 1 to 65535"),
    ("[fetch]\nports = [0]", "fetch.ports", "must be a port: 1 to 65535"),
    ("[api]\nbind = ['unix:relative.sock']", "api.bind", "unix:/path"),
    ("[api]\npublic_url = 'images.example.net'", "api.public_url", '"https://"'),
    ("[catalog]\nurl = 'sqlite://'", "catalog.url", "sqlite:////absolute"),
    ("[catalog]\nurl = 'mysql://imaged@db/imaged'", "catalog.url", "postgresql://user@host"),
    ("[catalog]\nurl = 'postgresql://a:b@db/c'", "catalog.url", "credential catalog.password"),
    ("[catalog]\nurl = 'postgresql://db/c?password=b'", "catalog.url", "password_file"),
    ("[catalog]\nurl = 'postgresql://db/c?sslpassword=b'", "catalog.url", "service=NAME"),
    ("[catalog]\nurl = 'sqlite:///var/lib/a.db'", "catalog.url", 'write "sqlite:////var/lib/a.db'),
    ("[claims]\nlease = '20s'", "claims.lease", "three times renew_every"),
    ("[claims]\nrenew_every = '0'", "claims.renew_every", "more than 0"),
    ("[stores.local]\ntype = 'tape'", "stores.local.type", "'filesystem' or 's3'"),
    ("[stores.local]\ntype = 's3'", "stores.local.bucket", "is missing"),
    ("[stores]\ndefault = 'b'\n[stores.b]\nbucket = 'abc'", "stores.b.type", "is missing"),
    ("[stores.b]\ntype = 'filesystem'\npath = '/b'", "stores.default", "must be the name"),
    ("[stores]\ndefault = 'far'", "stores.default", "the name of a store; there is local"),
    ("[stores.local]\npath = ''", "stores.local.path", "must be the path of a folder"),
    ("[stores.local]\nfile_mode = '600'", "stores.local.file_mode", '"0640"'),
    ("[stores.local]\nfile_mode = '0200'", "stores.local.file_mode", "read and write"),
    ("[stores]\ndefault = 'b'\n[stores.b]\ntype = 'filesystem'", "stores.b.path", "is missing"),
    (f"{BUCKET}bukcet = 'b'", "stores.local.bukcet", "did you mean 'bucket'?"),
    (f"{BUCKET}path = '/b'", "stores.local.path", "does not know this setting"),
    (f"{BUCKET}endpoint = 's3.example.net'", "stores.local.endpoint", '"https://"'),
    (f"{BUCKET}endpoint = 'https://a:b@s3'", "stores.local.endpoint", "keys must not be in it"),
    (f"{BUCKET}endpoint = 'https://s3:port'", "stores.local.endpoint", "a port from 1 to 65535"),
    (f"{BUCKET}prefix = '../b'", "stores.local.prefix", '"a/b"'),
    (f"{BUCKET}addressing = 'host'", "stores.local.addressing", "'path' or 'virtual'"),
    (f"{BUCKET}part_size = '4MiB'", "stores.local.part_size", "between 5MiB and 5GiB"),
    (f"{BUCKET}parts_in_flight = 0", "stores.local.parts_in_flight", "1 or more"),
    (f"{BUCKET}checksum = 'sha512'", "stores.local.checksum", "'md5' or 'none'"),
    (f"{BUCKET}read_timeout = '0'", "stores.local.read_timeout", "more than 0"),
    (f"{BUCKET}attempts = 0", "stores.local.attempts", "1 or more"),
    (f"{BUCKET}access_key_file = '/k'", "stores.local.secret_key_file", "must be set"),
    (
        "[stores.local]\ntype = 's3'\nbucket = ''",
        "stores.local.bucket",
        "3 to 255 letters",
    ),
    ("[auth]\nmethod = 'oidc'", "auth.method", "must be 'none', 'token' or 'keystone'"),
    ("[auth.keystone]\nurl = 'keystone:5000'", "auth.keystone.url", 'begin with "http://"'),
    ("[auth.keystone]\nurl = ['']", "auth.keystone.url", "one of them is empty"),
    ("[auth.keystone]\nurl = 'https://u:p@host'", "auth.keystone.url", "must not be in it"),
    ("[auth.keystone]\nuser = 'imaged'", "auth.keystone.user", "did you mean 'username'?"),
    ("[auth.keystone]\ncache_time = '0'", "auth.keystone.cache_time", "must be more than 0"),
    ("[auth.keystone]\npassword = 'p'", "auth.keystone.password", "AUTH__KEYSTONE__PASSWORD"),
    (f"{KEYSTONE}url = 'https://h'", "auth.keystone.username", "or application_credential_id"),
    (f"{KEYSTONE}{USER}project = 'service'", "auth.keystone.password_file", "must be set"),
    (f"{KEYSTONE}{USER}password_file = '/k'", "auth.keystone.project", "must be set"),
    (f"{KEYSTONE}{CREDENTIAL}", "auth.keystone.application_credential_secret_file", "must be set"),
    (
        f"{KEYSTONE}{CREDENTIAL}application_credential_secret_file = '/k'\nproject = 'service'",
        "auth.keystone.project",
        "must not be set beside application_credential_id",
    ),
    ("[auth]\nmethod = 'token'", "auth.token_file", "must be set"),
    ("[metrics]\nbind = ['api']", "metrics.token_file", "must be set"),
    ("[log]\nlevel = 'loud'", "log.level", "'debug', 'info', 'warning' or 'error'"),
    ("[tasks]\naccess = 'all'", "tasks.access", "'members' or 'admins'"),
    ("[tasks]\nlimits = ['convert']", "tasks.limits", '"convert=2"'),
    ("[tasks]\nlimits = ['convert=0']", "tasks.limits", '"convert=2"'),
    ("[tasks]\npoll_every = '0'", "tasks.poll_every", "more than 0"),
    ("[keystone]\nurl = 'x'", "keystone", f"imaged {version('imaged')} does not know this section"),
    ("[fetch]\nallow = ['here']", "fetch.allow", '"10.0.0.0/8"'),
    ("[exports.archive]\ntype = 'filesystem'", "exports.archive.path", "is missing"),
    ("[exports.archive]\ntype = 'tape'", "exports.archive.type", "'filesystem' or 's3'"),
    ("[exports.archive]\npath = '/srv'", "exports.archive.type", "is missing"),
    ("[exports]\narchive = 3", "exports.archive", "each destination is a table"),
    (f"{EXPORT}bukcet = 'b'", "exports.archive.bukcet", "did you mean 'bucket'?"),
    (f"{EXPORT}description = 'b'", "exports.archive.description", "does not know this setting"),
    (EXPORT.replace("archive", "No"), "exports.No", "is not a valid name for a destination"),
]


@pytest.mark.parametrize(("text", "key", "words"), WRONG)
def test_each_mistake_is_named_with_its_key(
    tmp_path: Path, text: str, key: str, words: str
) -> None:
    """One mistake, one problem: where it is, and what would be right."""
    (problem,) = problems_of(tmp_path, text)

    assert problem.startswith(f"{key}: ")
    assert words in problem


def test_all_mistakes_are_told_at_once(tmp_path: Path) -> None:
    """One correction of all problems is enough."""
    alone = [text for text, _, _ in WRONG if re.match(r"\[(?!stores|exports)", text)]
    sections: dict[str, str] = {}
    for text in alone:
        head, _, body = text.partition("\n")
        sections.setdefault(head, body)

    problems = problems_of(tmp_path, "\n".join(f"{key}\n{body}" for key, body in sections.items()))

    assert len(sections) == len(problems)


def test_the_system_chooses_ports_that_differ(tmp_path: Path) -> None:
    """Port 0 may be there twice; no other address may."""
    fixed, chosen = "'127.0.0.1:9292'", "'127.0.0.1:0'"
    text = f"[metrics]\nbind = [{chosen}, {fixed}]\n[api]\nbind = [{chosen}, {fixed}, {chosen}]"
    (problem,) = problems_of(tmp_path, text)
    assert problem.startswith("metrics.bind: must not have an address twice")


def test_drop_ins_come_later_and_by_name(tmp_path: Path) -> None:
    """What is read later wins, key by key; the rest of a table stays."""
    file = tmp_path / "imaged.toml"
    file.write_text("[scrubber]\ndelay = '1h'\nevery = '1h'\nkeep_records = '1h'\n")
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/20-late.toml").write_text("[scrubber]\ndelay = '3h'")
    (tmp_path / "conf.d/10-early.toml").write_text("[scrubber]\ndelay = '2h'\nevery = '2h'")
    (tmp_path / "conf.d/ignored.txt").write_text("nonsense")

    scrubber = load(file, {}).scrubber

    hours = [timedelta(hours=count) for count in (3, 2, 1)]
    assert hours == [scrubber.delay, scrubber.every, scrubber.keep_records]


def test_the_environment_comes_last(tmp_path: Path) -> None:
    """Every kind of value can be set by a variable."""
    file = tmp_path / "imaged.toml"
    file.write_text("[scrubber]\ndelay = '1h'")

    config = load(
        file,
        {
            "IMAGED_SCRUBBER__DELAY": "0",
            "IMAGED_SCRUBBER__CONCURRENCY": "7",
            "IMAGED_RECONCILE__MAX_SHARE": "0.5",
            "IMAGED_UPLOADS__CHECK_FORMAT": "false",
            "IMAGED_API__BIND": "127.0.0.1:1, unix:/run/x.sock",
            "IMAGED_DAEMON__ROLES": '["scrubber"]',
            "IMAGED_DAEMON__NAME": "7",
            "IMAGED_STORES__LOCAL__MIN_FREE": "2GiB",
            "IMAGED_STORES__LOCAL__FILE_MODE": "0640",
            "HOME": "/root",
        },
    )

    assert timedelta(0) == config.scrubber.delay
    assert config.scrubber.concurrency == 7
    assert config.reconcile.max_share == 0.5
    assert config.uploads.check_format is False
    assert (TcpAddress("127.0.0.1", 1), UnixAddress(Path("/run/x.sock"))) == config.api.bind
    assert config.daemon.roles == ("scrubber",)
    assert config.daemon.name == "7"
    store = config.stores.by_name["local"]
    assert isinstance(store, FilesystemSection)
    assert store.min_free == 2 * 1024**3
    assert store.file_mode == 0o640


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("IMAGED_LOG_LEVEL", "info", "must be IMAGED_SECTION__KEY"),
        ("IMAGED_LOG__LEVLE", "info", "did you mean 'level'?"),
        ("IMAGED_LGO__LEVEL", "info", "did you mean 'log'?"),
        ("IMAGED_SCRUBBER__CONCURRENCY", "four", "a whole number"),
        ("IMAGED_UPLOADS__CHECK_FORMAT", "yes", "true or false"),
        ("IMAGED_DAEMON__ROLES", "[api", "must be a list"),
        ("IMAGED_STORES__CLOUD__SECRET_KEY", "", "must not be empty"),
        ("IMAGED_UPLOADS__MAX_SIZE__X", "1", 'such as "256MiB"'),
    ],
)
def test_mistakes_in_variables_are_named_by_the_variable(
    tmp_path: Path, variable: str, value: str, words: str
) -> None:
    """An operator looks for the name that he wrote."""
    text = "[stores]\ndefault = 'cloud'\n[stores.cloud]\ntype = 's3'\nbucket = 'images'"

    (problem,) = problems_of(tmp_path, text, **{variable: value})

    assert problem.startswith("environment: ")
    assert variable.startswith(problem.split(": ")[1])
    assert words in problem


def test_a_mistake_is_told_of_the_file_that_it_is_in(tmp_path: Path) -> None:
    """Of several files, the one that won is to be corrected."""
    (tmp_path / "conf.d").mkdir()
    drop_in = tmp_path / "conf.d/50-mine.toml"
    drop_in.write_text("[scrubber]\ndelay = 'soon'")

    (problem,) = problems_of(tmp_path, "[scrubber]\ndelay = '1h'")

    assert problem.startswith(f"{drop_in}:2: scrubber.delay: ")


def test_files_that_cannot_be_read_are_problems_like_others(tmp_path: Path) -> None:
    """Broken TOML, a missing file and a wrong value are told together."""
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/1.toml").write_text("[scrubber\n")
    (tmp_path / "conf.d/2.toml").write_bytes(b"\xff\xfe")
    (tmp_path / "conf.d/3.toml").mkdir()
    (tmp_path / "conf.d/4.toml").write_text("[scrubber]\ndelay = 'soon'")

    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path / "missing.toml", {})

    said = [str(problem).removeprefix(f"{tmp_path}/") for problem in caught.value.problems]
    assert said[0] == (
        "missing.toml: cannot be read: No such file or directory; correct --config, or create the "
        "file"
    )
    assert said[1].startswith("conf.d/1.toml:1: is not valid TOML: ")
    assert said[1].endswith("(at line 1, column 10)")
    assert said[2].startswith("conf.d/2.toml:1: is not valid TOML: ")
    assert said[3] == "conf.d/3.toml: cannot be read: Is a directory"
    assert said[4].startswith("conf.d/4.toml:2: scrubber.delay: ")


@pytest.mark.parametrize(
    "text",
    [
        f"[catalog]\nurl = 'postgresql://imaged:{SECRET}@db/imaged'",
        f"[catalog]\nurl = 'mysql://imaged:{SECRET}@db/imaged'",
        f"[catalog]\nurl = 'mysql://db/imaged?password={SECRET}'",
        f"[stores.cloud]\ntype = 's3'\nbucket = 'b'\nendpoint = 'https://a:{SECRET}@s3'",
        f"[stores.cloud]\ntype = 's3'\nbucket = 'b'\nendpoint = 'a:{SECRET}@s3'",
        f"[catalog]\nurl = 'host=db password={SECRET}'",
        f"[catalog]\nurl = ['postgresql://a:{SECRET}@db/c']",
        f"[auth]\ntoken_fil = '{SECRET}'",
        f"[auth]\ntoken_file = ['{SECRET}']",
        f"[stores.cloud]\ntype = 's3'\nsecret_key = '{SECRET}'",
        f"log = '{SECRET}'",
        f"[log]\nlevel = {{'a' = '{SECRET}'}}",
    ],
)
def test_what_may_be_a_secret_is_never_repeated(tmp_path: Path, text: str) -> None:
    """A secret in the wrong place stays a secret."""
    assert SECRET not in "\n".join(problems_of(tmp_path, text))


@pytest.mark.parametrize(
    ("text", "line", "value"),
    [
        ("[scrubber]\n# a comment\n\ndelay = 'soon'", 4, '"soon"'),
        ("scrubber.delay = 'soon'", 1, '"soon"'),
        ("scrubber = {every = '1h', delay = 'soon'}", 1, '"soon"'),
        ("[scrubber]\nconcurrency = 0\n[log]", 2, "0"),
        ("[uploads]\ncheck_format = 'yes'", 2, '"yes"'),
        ("[api]\nbind = [\n  '[::1]:80', # one\n  ':70',\n]\nlinger = '2s'", 2, '":70"'),
        ("[api]\nlinger = '2s'\nbind = []", 3, "[]"),
        ("[scrubber]\nevery = '1h'\n[log]\nlevel = 3", 4, "3"),
        ("[log]\n[claims]\nrenew_every = '9s'\nlease = '2s'", 4, '"2s"'),
        (f"[log]\nlevel = '{'x' * 100}'", 2, f'"{"x" * 59}…'),
        ("[log]\nlevel = '\u202e'", 2, '"\\u202e"'),
        ("[auth]\ntoken_file = [1]", 2, "a list"),
        ("\n[auth]\nmethod = 'token'", 2, None),
        ("[log]\n[stores.local]\ntype = 's3'", 2, None),
    ],
)
def test_a_mistake_is_shown_with_its_line_and_value(
    tmp_path: Path, text: str, line: int, value: str | None
) -> None:
    """The line where the statement begins, or that of the table in which something is missing."""
    file = tmp_path / "imaged.toml"
    file.write_text(text)

    with pytest.raises(ConfigInvalid) as caught:
        load(file, {})

    (problem,) = caught.value.problems
    assert (problem.line, problem.value) == (line, value)
    assert str(problem).startswith(f"{file}:{line}: ")
    assert str(problem).endswith(f"; here it is {value}" if value else problem.what)


def test_a_value_of_the_environment_is_shown(tmp_path: Path) -> None:
    """With the variable, which has no line."""
    (problem,) = problems_of(tmp_path, "", IMAGED_SCRUBBER__DELAY="soon")

    assert problem.startswith("environment: IMAGED_SCRUBBER__DELAY: must be a duration")
    assert problem.endswith('; here it is "soon"')


def test_relative_paths_begin_at_the_folder_of_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wherever imaged is started; a drop-in has a folder of its own."""
    file, drop_in = tmp_path / "a/imaged.toml", tmp_path / "a/conf.d/1.toml"
    drop_in.parent.mkdir(parents=True)
    file.write_text(
        "[catalog]\nurl = 'sqlite:///../catalog.db'\npassword_file = '/etc/p'\n"
        "[stores.local]\npath = 'images'\n[auth]\ntoken_file = './tokens.toml'"
    )
    drop_in.write_text("[conversion]\nscratch = 'scratch'")
    monkeypatch.chdir(tmp_path)

    config = load(Path("a/imaged.toml"), {})

    store = config.stores.by_name["local"]
    assert isinstance(store, FilesystemSection)
    assert config.catalog.url == f"sqlite:///{tmp_path}/catalog.db"
    assert store.path == tmp_path / "a/images"
    assert config.auth.token_file == str(tmp_path / "a/tokens.toml")
    assert config.conversion.scratch == tmp_path / "a/conf.d/scratch"
    assert config.catalog.password_file == "/etc/p"
    assert config.fetch.ca_file == ""


@pytest.mark.parametrize(
    ("address", "is_local_only"),
    [
        ("127.0.0.1:9292", True),
        ("127.8.8.8:9292", True),
        ("localhost:9292", True),
        ("[::1]:9292", True),
        ("unix:/run/imaged/api.sock", True),
        ("0.0.0.0:9292", False),
        ("[::]:9292", False),
        ("192.0.2.7:9292", False),
        ("images.example.net:9292", False),
    ],
)
def test_without_a_method_only_this_machine_may_come_in(
    tmp_path: Path, address: str, is_local_only: bool
) -> None:
    """Every client is an administrator then: only a setting of its own lets the network in."""
    file = tmp_path / "imaged.toml"
    file.write_text(f"[api]\nbind = ['{address}']")
    token = {"IMAGED_AUTH__METHOD": "token", "IMAGED_AUTH__TOKEN_FILE": "/etc/imaged/tokens.toml"}
    told_so = {"IMAGED_AUTH__ALLOW_ANYONE_ON_THE_NETWORK": "true"}

    assert address == str(load(file, token).api.bind[0])
    assert address == str(load(file, told_so).api.bind[0])
    if is_local_only:
        assert address == str(load(file, {}).api.bind[0])
    else:
        (problem,) = problems_of(tmp_path, file.read_text())
        assert problem.startswith(f"api.bind: {address} can be reached from the network")


def test_the_default_file_may_be_missing(tmp_path: Path) -> None:
    """Without any file, the defaults are good."""
    config = load(environment={}, default_file=tmp_path / "imaged.toml")

    store = config.stores.by_name["local"]
    assert isinstance(store, FilesystemSection)
    assert store.path == Path("/var/lib/imaged/images")


@pytest.mark.parametrize(
    "zeroes",
    [
        "[daemon]\ndrain_timeout = '0'",
        "[scrubber]\ndelay = '0'\nevery = '0'\nkeep_records = '0'",
        "[reconcile]\nevery = '0'\nquarantine = '0'\nmax_strays = 0\nmax_share = 0",
        "[uploads]\nmax_size = '0'\nstaged_time_to_live = '0'\ntransfer_budget = '0'",
        "[stores.local]\nmin_free = '0'",
    ],
)
def test_zero_is_a_duration_and_a_size(tmp_path: Path, zeroes: str) -> None:
    """Nothing has to be written with a unit where there is nothing."""
    config_of(tmp_path, zeroes)
