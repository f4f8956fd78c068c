#!/bin/sh
echo legacy, first edition
