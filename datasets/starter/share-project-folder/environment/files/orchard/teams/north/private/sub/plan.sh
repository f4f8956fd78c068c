#!/bin/sh
echo plan
