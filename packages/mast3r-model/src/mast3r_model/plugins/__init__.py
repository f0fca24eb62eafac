"""Plugins: how packages, ours and others', add heads, models, commands, datasets, losses and more by name."""

from .hookspecs import KINDS, CommandSpec, Mast3rHooks, Target, hookimpl, hookspec
from .manager import PluginInfo, PluginManager, plugin_manager, registry, temporary_plugin
from .names import nearest_names, suggestion
from .registry import Registry, resolve_import_string

__all__ = [
    "KINDS",
    "CommandSpec",
    "Mast3rHooks",
    "PluginInfo",
    "PluginManager",
    "Registry",
    "Target",
    "hookimpl",
    "hookspec",
    "nearest_names",
    "plugin_manager",
    "registry",
    "resolve_import_string",
    "suggestion",
    "temporary_plugin",
]
