#!/bin/sh
echo run and run away
