#!/bin/sh
# Wrong: IPv4 addresses go first, so that e-mail and IPv6 addresses which hold one are torn apart.
set -eu
rules=/solution/redact.rules
{ grep '^ipv4' "$rules"; grep -v '^ipv4' "$rules"; } >/app/redact.rules
