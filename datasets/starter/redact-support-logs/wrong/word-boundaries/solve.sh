#!/bin/sh
# Wrong: the common short regular expressions with word boundaries, which take version numbers and object ids for addresses.
set -eu
{
    printf 'email\t\\b[A-Za-z0-9._%%+-]+@[A-Za-z0-9.-]+\\.[A-Za-z]{2,}\\b\t<email>\n'
    grep -v -e '^ipv4' -e '^email' /solution/redact.rules
    printf 'ipv4\t\\b(?:[0-9]{1,3}\\.){3}[0-9]{1,3}\\b\t<ipv4>\n'
} >/app/redact.rules
