"""What is kept so that code is rewritten once: variants in memory, and the store on disk."""

from __future__ import annotations

from typing import TypedDict

from dapper import _engine

__all__ = ["CacheStatistics", "clear_caches", "get_cache_manager_stats"]


class CacheStatistics(TypedDict):
    """The state of the variants in memory, and where the store on disk is."""

    total_entries: int
    total_bytes: int
    max_entries: int
    ttl: float | None
    hits: int
    misses: int
    evicted: int
    expired: int
    store: str | None


def get_cache_manager_stats() -> CacheStatistics:
    """Tell how many variants are kept in memory, and what became of them."""
    counts = _engine.memo_counts()
    return {
        "total_entries": counts["entries"],
        "total_bytes": counts["bytes"],
        "max_entries": counts["limit"],
        "ttl": _engine.memo_time_to_live(),
        "hits": counts["hits"],
        "misses": counts["misses"],
        "evicted": counts["evicted"],
        "expired": counts["expired"],
        "store": _engine.cache_dir(),
    }


def clear_caches() -> None:
    """Forget the variants in memory, and count from nothing again. The store on disk stays."""
    _engine.clear_memo()
