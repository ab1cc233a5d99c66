"""Two registry processes on one PostgreSQL database: real processes, killed and cut off."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tuf.api.metadata import Metadata

from exchange.identifiers import MemberId
from exchange.problems import Code, Problem
from mediator.registry_copy import RegistryCopy
from mediator.registry_fetcher import RegistryFetcher
from registry.ceremony import Opened, open_registry
from registry.client import RegistryClient
from registry.member import MemberFolder
from registry.operator import sign_delegation
from registry.settings import RegistrySettings
from registry.signers import read_signers
from registry.store import Store
from tests.registry.simulator import MOF, MPI, instance_record, member_record
from tests.registry.world import described
from tests.services.server import DatabaseServer

pytestmark = pytest.mark.needs_postgresql
