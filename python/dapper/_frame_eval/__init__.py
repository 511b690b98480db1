"""The documented interface of frame evaluation: names, options and figures.

Everything here is a face of the engine: `frame_eval_main` chooses a backend and sets it up,
`debugger_integration` lends it to a debugger, `runtime`, `telemetry` and `cache_manager` tell
what it does. The guide is docs/frame-eval-user-guide.md.
"""
