"""Pushes to the repository as two people would, and looks at what the web server shows after each push."""

import contextlib
import ctypes
import http.client
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

REPO = "/srv/git/site.git"
PORT = 8080
BODY_LIMIT = 1 << 20
ABSENT = "0" * 40

failures = []
work = pathlib.Path(tempfile.mkdtemp(prefix="check-"))
ENV = {
    "PATH": os.environ["PATH"],
    "HOME": str(work),
    "LC_ALL": "C.UTF-8",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_AUTHOR_NAME": "Ada Publisher",
    "GIT_AUTHOR_EMAIL": "ada@example.org",
    "GIT_COMMITTER_NAME": "Ada Publisher",
    "GIT_COMMITTER_EMAIL": "ada@example.org",
}
# Ben has settings of his own, which are none of the repository's business.
SETTINGS = work / "settings"
BENS_SETTINGS = f"""
[core]
    hooksPath = {work}/hooks
    autocrlf = true
[init]
    defaultBranch = trunk
[receive]
    denyDeletes = true
    denyNonFastForwards = true
[push]
    default = nothing
"""
SECRET = "not for the public"


class StopError(Exception):
    """Without this, nothing that follows can be judged."""


def expect(condition, what):
    if not condition:
        failures.append(what)
        print("FAILED:", what)


def must(condition, what):
    expect(condition, what)
    if not condition:
        raise StopError


def git(*args, cwd=None):
    """Exit code and output of git. Output goes to a file: a process that a hook leaves behind cannot hold this up."""
    with tempfile.TemporaryFile(dir=work) as out:
        try:
            ended = subprocess.run(
                ["git", *args],
                cwd=cwd or work,
                env={**ENV, "GIT_CONFIG_GLOBAL": str(SETTINGS)} if cwd == work / "ben" else ENV,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.DEVNULL,
                timeout=20,
            )
            code = ended.returncode
        except subprocess.TimeoutExpired:
            code = 124
        out.seek(0)
        return code, out.read(BODY_LIMIT).decode(errors="replace").strip()


def run(*args, cwd):
    code, out = git(*args, cwd=cwd)
    must(code == 0, f"git {args[0]} works in a clone")
    return out


def get(path):
    """Status, content type and body; status 0 where there is no answer."""
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=10)
    try:
        connection.putrequest("GET", path)
        connection.endheaders()
        answer = connection.getresponse()
        return answer.status, answer.getheader("Content-Type", ""), answer.read(BODY_LIMIT).decode(errors="replace")
    except (OSError, http.client.HTTPException):
        return 0, "", ""
    finally:
        connection.close()


def shows(path, text, when):
    status, _, body = get(path)
    expect(status == 200 and body == text, f"{path} is served as it was pushed ({when})")


def gone(path, when):
    expect(get(path)[0] == 404, f"{path} is a 404 ({when})")


def write(clone, path, text):
    file = clone / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def commit(clone, message):
    run("add", "-A", cwd=clone)
    run("commit", "-q", "-m", message, cwd=clone)
    return run("rev-parse", "HEAD", cwd=clone)


def push(clone, *args, what):
    code, _ = git("push", "-q", "origin", *args, cwd=clone)
    must(code == 0, f"a push is accepted: {what}")


def refused(clone, *args, what):
    code, _ = git("push", "-q", "origin", *args, cwd=clone)
    expect(code != 0, f"a push is refused: {what}")


def ref(name):
    _, out = git("ls-remote", REPO, name)
    return out.split("\t")[0] if out else ABSENT


def answers():
    """The server is said to run already; a slow machine is given a moment all the same."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if get("/")[0]:
            return True
        time.sleep(0.05)
    return False


def before_first_push():
    code, bare = git("--git-dir", REPO, "rev-parse", "--is-bare-repository")
    must(code == 0 and bare == "true", f"{REPO} is a bare repository")
    code, refs = git("ls-remote", REPO)
    must(code == 0 and not refs, "the repository is handed over without branches and tags")
    must(answers(), f"a server answers at 127.0.0.1:{PORT}")
    gone("/", "before the first push")
    gone("/index.html", "before the first push")
    gone("/HEAD", "before the first push")


def first_push():
    clone = work / "ada"
    must(git("clone", "-q", REPO, str(clone))[0] == 0, "the empty repository can be cloned")
    run("checkout", "-q", "-B", "main", cwd=clone)
    write(clone, "index.html", "<h1>Harbour news</h1>\n")
    write(clone, "style.css", "h1 { color: teal }\n")
    write(clone, "docs/index.html", "<h1>Documents</h1>\n")
    write(clone, "docs/tide.html", "<p>tide table one</p>\n")
    write(clone, "img/logo.svg", "<svg xmlns='http://www.w3.org/2000/svg'/>\n")
    write(clone, "café menu.html", "<p>soup</p>\n")
    write(clone, ".gitignore", "*.tmp\n")
    write(clone, ".drafts/plan.html", "<p>not yet</p>\n")
    write(clone, "docs/.private/key.html", "<p>never</p>\n")
    commit(clone, "The site begins")
    push(clone, "refs/heads/main", what="the first of main")

    when = "after the first push"
    shows("/", "<h1>Harbour news</h1>\n", when)
    shows("/index.html", "<h1>Harbour news</h1>\n", when)
    shows("/style.css?v=2", "h1 { color: teal }\n", when)
    shows("/docs/", "<h1>Documents</h1>\n", when)
    shows("/docs/tide.html", "<p>tide table one</p>\n", when)
    shows("/caf%C3%A9%20menu.html", "<p>soup</p>\n", when)
    expect(get("/")[1].startswith("text/html"), "/ has the type of HTML")
    expect(get("/docs/tide.html")[1].startswith("text/html"), "an .html file has the type of HTML")
    expect(get("/style.css")[1].startswith("text/css"), "a .css file has the type of CSS")
    for path in ("/img/", "/missing.html", "/docs/missing/", "/.gitignore", "/.drafts/plan.html"):
        gone(path, when)
    gone("/%2Edrafts/plan.html", when)
    gone("/docs/.private/key.html", when)
    return clone


def nothing_else_is_served():
    inside = ("HEAD", "config", "hooks/post-receive", "hooks/update", "hooks/", "objects/", "refs/heads/main", "index")
    for path in inside:
        for prefix in ("/", "/.git/", "/site.git/", "/git/site.git/", "/srv/git/site.git/"):
            status, _, _ = get(prefix + path)
            expect(status == 404, f"{prefix}{path} is a 404")
    for up in ("..", "%2e%2e", "..%2f..", "docs/../..", "/..", "%2fsrv%2fgit"):
        for tail in ("site.git/HEAD", "git/site.git/HEAD", "srv/git/site.git/HEAD", "etc/passwd"):
            for path in (f"/{up}/{tail}", f"/{up}/../{tail}", f"/{up}/../../{tail}"):
                status, _, body = get(path)
                ok = status >= 300 and "ref: refs/" not in body and "root:" not in body
                expect(ok, f"{path} does not lead out of the site")
    status, _, body = get("//etc/passwd")
    expect(status != 200 and "root:" not in body, "//etc/passwd does not lead out of the site")


def silent_client():
    with contextlib.ExitStack() as stack:
        for _ in range(3):
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", PORT), 10))
            idle.sendall(b"GET / HT")
        shows("/", "<h1>Harbour news</h1>\n", "while silent clients are connected")


def other_refs(clone):
    """Branches and tags that are not main, with names that look like it."""
    before = ref("refs/heads/main")
    run("checkout", "-q", "-b", "draft", cwd=clone)
    write(clone, "index.html", "<h1>Draft</h1>\n")
    write(clone, "draft.html", "<p>draft</p>\n")
    draft = commit(clone, "A draft")
    run("tag", "main", cwd=clone)
    for name in ("draft", "main2", "feature/main", "main.old"):
        push(clone, f"{draft}:refs/heads/{name}", what=f"the branch {name}")
        expect(ref(f"refs/heads/{name}") == draft, f"the branch {name} is kept as pushed")
    push(clone, "refs/tags/main", what="a tag called main")
    when = "after pushes of other branches and a tag"
    shows("/", "<h1>Harbour news</h1>\n", when)
    shows("/docs/tide.html", "<p>tide table one</p>\n", when)
    gone("/draft.html", when)
    expect(ref("refs/heads/main") == before, "main stays where it is when others are pushed")

    run("commit", "-q", "--amend", "-m", "Another draft", cwd=clone)
    push(clone, "+HEAD:refs/heads/draft", what="a branch that is not main, rewritten")
    push(clone, ":refs/heads/main.old", what="a branch that is not main, deleted")
    expect(ref("refs/heads/main.old") == ABSENT, "a branch that is not main can be deleted")
    shows("/", "<h1>Harbour news</h1>\n", when)


def second_round():
    """Somebody else clones, changes and removes, and pushes main in the middle of other branches."""
    clone = work / "ben"
    SETTINGS.write_text(BENS_SETTINGS)
    (work / "secret").write_text(SECRET)
    must(git("clone", "-q", REPO, str(clone))[0] == 0, "the repository can be cloned")
    _, branch = git("symbolic-ref", "--short", "HEAD", cwd=clone)
    must(branch in ("main", "heads/main") and (clone / "docs/tide.html").is_file(), "a clone checks out main")
    write(clone, "index.html", "<h1>Harbour news, second issue</h1>\n")
    run("rm", "-q", "-r", "docs", "café menu.html", cwd=clone)
    write(clone, "docs", "a file now\n")
    write(clone, "img/index.html", "<p>pictures</p>\n")
    (clone / "secret.html").symlink_to(work / "secret")
    (clone / "machine").symlink_to(work)
    commit(clone, "The second issue")
    old = "+refs/remotes/origin/main:refs/heads/"
    # What is there already is pushed in the order of names: draft, main, main2.
    push(clone, old + "draft", "HEAD:refs/heads/main", old + "main2", what="main between two other branches")

    when = "after the second push"
    shows("/", "<h1>Harbour news, second issue</h1>\n", when)
    shows("/docs", "a file now\n", when)
    shows("/img/", "<p>pictures</p>\n", when)
    shows("/style.css", "h1 { color: teal }\n", when)
    gone("/docs/tide.html", when)
    gone("/caf%C3%A9%20menu.html", when)
    gone("/.gitignore", when)
    for path in ("/secret.html", "/machine/secret"):
        expect(SECRET not in get(path)[2], f"{path}, a link, does not lead out of the site")
    return clone


def protection(ada, ben):
    """Ada is behind: what she has is no fast-forward any more."""
    main = ref("refs/heads/main")
    run("checkout", "-q", "refs/heads/main", cwd=ada)
    write(ada, "index.html", "<h1>From yesterday</h1>\n")
    commit(ada, "Behind the times")
    refused(ada, "HEAD:refs/heads/main", what="main, not a fast-forward")
    refused(ada, "+HEAD:refs/heads/main", what="main, not a fast-forward, forced")
    refused(ada, "+HEAD~1:refs/heads/main", what="main, set back, forced")
    refused(ada, ":refs/heads/main", what="the deletion of main")
    refused(ben, "+HEAD~1:refs/heads/main", what="main, set back, forced, with other settings")
    refused(ben, ":refs/heads/main", what="the deletion of main, with other settings")
    expect(ref("refs/heads/main") == main, "refused pushes leave main where it was")
    shows("/", "<h1>Harbour news, second issue</h1>\n", "after refused pushes")

    write(ben, "news/2.html", "<p>third</p>\n")
    write(ben, "index.html", "<h1>Third issue</h1>\n")
    run("rm", "-q", "style.css", cwd=ben)
    commit(ben, "The third issue")
    push(ben, "HEAD:refs/heads/main", ":refs/heads/main2", what="main once more, and the deletion of another branch")
    shows("/", "<h1>Third issue</h1>\n", "after the last push")
    shows("/news/2.html", "<p>third</p>\n", "after the last push")
    gone("/style.css", "after the last push")
    gone("/draft.html", "after the last push")


def overdue(_signal, _frame):
    expect(False, "all of it answers within the time there is")
    raise StopError


def end_children():
    """Hooks ran below this process. Whatever they left behind ends before the verdict is written."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            children = pathlib.Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
        except OSError:
            return
        if not children:
            return
        for child in children:
            with contextlib.suppress(OSError):
                os.kill(int(child), signal.SIGKILL)
                os.waitpid(int(child), 0)


def main():
    set_child_subreaper = 36
    ctypes.CDLL(None).prctl(set_child_subreaper, 1, 0, 0, 0)
    signal.signal(signal.SIGALRM, overdue)
    signal.alarm(90)
    try:
        before_first_push()
        ada = first_push()
        nothing_else_is_served()
        silent_client()
        other_refs(ada)
        ben = second_round()
        protection(ada, ben)
    except StopError:
        print("stopped here")
    finally:
        signal.alarm(0)
        end_children()
        shutil.rmtree(work, ignore_errors=True)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
