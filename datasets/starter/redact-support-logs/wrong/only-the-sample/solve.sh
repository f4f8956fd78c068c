#!/bin/sh
# Wrong: the values of the sample, one by one.
set -eu
{
    printf 'a\tanna\\.meyer\\+shop@mail\\.example\\.org\t<email>\n'
    printf 'b\t198\\.51\\.100\\.23|192\\.0\\.2\\.7|(?<!v)10\\.4\\.2\\.1\t<ipv4>\n'
    printf 'c\t4111 1111 1111 (1111)\t<card-\\1>\n'
    printf 'd\t2001:db8:0:17::2a|(?<= )::1|::ffff:192\\.0\\.2\\.99\t<ipv6>\n'
    printf 'e\tbak_(live|test)_0123456789abcdefABCDEF0[12]\t<key:\\1>\n'
    printf 'f\t5555-5555-5555-(4444)|378282246310005\t<card-4444>\n'
} >/app/redact.rules
