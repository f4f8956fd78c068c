#!/usr/bin/env python3
"""Counts trees."""

import sys

sys.stdout.write(f"{len(sys.stdin.readlines())}\n")
