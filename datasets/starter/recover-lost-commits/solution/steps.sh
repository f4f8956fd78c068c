# The steps of the repair, one function each.
cd /app/pricelist
export GIT_CONFIG_NOSYSTEM=1 GIT_CONFIG_GLOBAL=/dev/null GIT_EDITOR=true
export GIT_COMMITTER_NAME="Repair" GIT_COMMITTER_EMAIL=repair@example.org

# last SUBJECT: the newest version of a commit among all that the repository holds.   first SUBJECT: its oldest version.
versions() {
    git cat-file --batch-all-objects --batch-check 2>/dev/null | sed -n 's/ commit .*//p' | while read -r id; do
        git log -1 --no-walk --format='%ct %H %s' "$id"
    done | grep -F "$1" | sort -n | cut -d' ' -f2
}
last() { versions "$1" | tail -n 1; }
first() { versions "$1" | head -n 1; }

unlock() {
    rm -f .git/index.lock
    object=$(find .git/objects -type f -size 0)
    rm -f "$object"
    git hash-object -w docs/upload.md >/dev/null
    rm -f .git/refs/heads/main
    git update-ref refs/heads/main "$(last 'Explain how to upload')"
    git reset -q --hard main
    git checkout -q --detach
}

pick() { git cherry-pick --allow-empty "$1" >/dev/null; }

# A commit that changed CHANGES elsewhere: its own line goes on top of what is there.
pick_below() {
    if ! git cherry-pick "$1" >/dev/null 2>&1; then
        { git show "$1" -- CHANGES | sed -n 's/^+\(- .*\)/\1/p' && git show HEAD:CHANGES; } >CHANGES
        git add CHANGES
        git cherry-pick --continue >/dev/null
    fi
}

format_with_limits() {
    git checkout -q "$(last 'Document the format')"
    git checkout -q "$(first 'Document the format')" -- conf/limits.conf
    git commit -q --amend --no-edit
}

uploads_without_key() {
    pick "$(last 'Add upload settings')"
    git rm -q --cached deploy/upload.key
    rm deploy/upload.key
    git commit -q --amend --no-edit
}

finish() {
    git update-ref refs/heads/main HEAD
    git checkout -q main
    git status --porcelain
}
