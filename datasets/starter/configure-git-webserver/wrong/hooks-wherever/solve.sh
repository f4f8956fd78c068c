#!/bin/sh
# Wrong: does not say in the repository where its hooks are, so those who have set core.hooksPath push past them.
set -eu
sh /solution/site.sh
git --git-dir=/srv/git/site.git config --unset core.hooksPath
