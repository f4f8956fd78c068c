#!/bin/sh
echo set up, second edition
