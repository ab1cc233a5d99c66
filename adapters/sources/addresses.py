"""Addresses of databases, and the driver that is used for each."""

from __future__ import annotations

from sqlalchemy import URL
from sqlalchemy import exc as sqlalchemy_exc
from sqlalchemy.engine import make_url

from exchange.problems import Code, Problem

DRIVERS = {
    "sqlite": "sqlite",
    "postgresql": "postgresql+psycopg",
    "postgres": "postgresql+psycopg",
    "postgresql+psycopg": "postgresql+psycopg",
    "mariadb": "mariadb+pymysql",
    "mysql": "mariadb+pymysql",
    "mariadb+pymysql": "mariadb+pymysql",
    "mysql+pymysql": "mariadb+pymysql",
    "mssql": "mssql+pymssql",
    "sqlserver": "mssql+pymssql",
    "mssql+pymssql": "mssql+pymssql",
    "oracle": "oracle+oracledb",
    "oracle+oracledb": "oracle+oracledb",
}


def parse_url(text: str, where: str) -> URL:
    """Parse a database address and set the driver that is used here.

    Raises:
        Problem: ``InvalidMapping`` when it is not an address or of another kind of database; the
            address itself, which may hold a password, is not repeated.
    """
    try:
        url = make_url(text)
    except (sqlalchemy_exc.ArgumentError, ValueError) as error:
        detail = "is not a database address such as postgresql://user:${PASSWORD}@host/name"
        raise Problem(Code.INVALID_MAPPING, where=where, detail=detail) from error
    driver = DRIVERS.get(url.drivername)
    if driver is None:
        detail = f"{url.drivername!r} is not one of: {', '.join(DRIVERS)}"
        raise Problem(Code.INVALID_MAPPING, where=where, detail=detail)
    return url.set(drivername=driver)
