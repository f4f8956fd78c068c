#!/bin/sh
# Runs when the agent has ended; until then, nothing in this folder exists for the agent.
# The number in reward.txt is the verdict. 1 passes; the exit code of this script means nothing.
#
# The agent's file is looked at with care: it must be a file of its own (a link could lead to expected.txt itself),
# and no more of it is read than a right answer could have. A missing newline at its end makes no difference.
got=/app/counts.txt
reward=0
if [ -L "$got" ] || [ ! -f "$got" ]; then
    echo "there is no file $got"
elif [ "$(head -c 4096 "$got")" = "$(cat /tests/expected.txt)" ]; then
    reward=1
else
    # What is wrong may be said, what would be right not: people read this in the record of the trial.
    echo "$got is not what was asked for"
fi
echo "$reward" >/logs/verifier/reward.txt
