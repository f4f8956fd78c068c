#!/bin/sh
echo "begins with a byte order mark"
