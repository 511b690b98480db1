"""Import a large package, named as the argument, or nothing; print what it took.

That is the processor time and the wall time in nanoseconds, and the peak of the memory in megabytes.
"""

import sys
import time

import layout
import peak


def sympy():
    import sympy  # noqa: F401


def django():
    """What a process of a site imports before it serves."""
    from django.conf import settings

    apps = ("admin", "auth", "contenttypes", "sessions", "messages", "staticfiles")
    # Without translations, which are no sources and are not copied.
    settings.configure(INSTALLED_APPS=[f"django.contrib.{app}" for app in apps], USE_I18N=False)
    import django

    django.setup()
    from django.contrib import admin  # noqa: F401
    from django.core.handlers import wsgi  # noqa: F401


def boto3():
    """The package, and what it imports for the first client."""
    import boto3  # noqa: F401
    import botocore.client
    import botocore.credentials
    import botocore.endpoint
    import botocore.handlers
    import s3transfer.manager  # noqa: F401


def nothing():
    """Take what every run takes."""


def never():
    return 1  # @cold


layout.scatter()
load = {"sympy": sympy, "django": django, "boto3": boto3, "nothing": nothing}[sys.argv[1]]
start, start_wall = time.process_time_ns(), time.perf_counter_ns()
load()
taken, taken_wall = time.process_time_ns() - start, time.perf_counter_ns() - start_wall
print(taken, taken_wall, peak.megabytes())
