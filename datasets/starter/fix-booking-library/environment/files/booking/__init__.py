"""Rooms, bookings that repeat, and free times. README.md says how everything is meant to behave."""

from booking.calendar import Booked, Calendar, Conflict
from booking.interval import Interval, merge, subtract
from booking.rules import Rule
from booking.zones import Zone, load_zones

__all__ = ["Booked", "Calendar", "Conflict", "Interval", "Rule", "Zone", "load_zones", "merge", "subtract"]
