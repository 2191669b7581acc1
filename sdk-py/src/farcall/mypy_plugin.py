"""A plugin for mypy, which by itself does not look at decorators of classes.

    [tool.mypy]
    plugins = ["farcall.mypy_plugin"]

With it, a call of a decorated class makes a remote instance, and the methods of one keep their signatures:
`Model("small").predict.remote(1)` is checked like `predict(1)`. Functions need no plugin.
"""

from __future__ import annotations

from collections.abc import Callable

from mypy.checker import TypeChecker
from mypy.nodes import CallExpr, RefExpr, TypeInfo
from mypy.plugin import (
    AttributeContext,
    ClassDefContext,
    FunctionContext,
    MethodSigContext,
    Plugin,
)
from mypy.plugins.common import add_attribute_to_class
from mypy.typeops import type_object_type
from mypy.types import (
    CallableType,
    FunctionLike,
    Instance,
    Parameters,
    Type,
    TypeType,
    get_proper_type,
)

_DECORATORS = {"farcall._remote.remote", "farcall._endpoint.Endpoint"}
_HANDLES = "farcall._handles"
# In a class's metadata: it is decorated.
_MARK = "farcall"
# What awaiting gives, and what is collected into a list.
_AWAITED = {"typing.Coroutine": 2, "typing.Awaitable": 0}
_COLLECTED = {
    "typing.Generator",
    "typing.Iterator",
    "typing.Iterable",
    "typing.AsyncGenerator",
    "typing.AsyncIterator",
}


class FarcallPlugin(Plugin):
    """Tells mypy what decorated classes are."""

    def get_class_decorator_hook_2(self, fullname: str) -> Callable[[ClassDefContext], bool] | None:
        """For each decorator of a class."""
        return _decorated if fullname in _DECORATORS else None

    def get_function_hook(self, fullname: str) -> Callable[[FunctionContext], Type] | None:
        """For each call of a function or class."""
        found = self.lookup_fully_qualified(fullname)
        if not found or not isinstance(found.node, TypeInfo) or _MARK not in found.node.metadata:
            return None
        handle = self.lookup_fully_qualified(f"{_HANDLES}.RemoteInstance")
        if not handle or not isinstance(handle.node, TypeInfo):
            return None
        remote = handle.node
        return lambda context: _made(context, remote)

    def get_method_signature_hook(self, fullname: str) -> Callable[[MethodSigContext], FunctionLike] | None:
        """For each call of a method: a class that `remote(...)` returned takes what its constructor takes."""
        return _constructor if fullname == f"{_HANDLES}.RemoteClass.__call__" else None

    def get_attribute_hook(self, fullname: str) -> Callable[[AttributeContext], Type] | None:
        """For each attribute that is not a method: those of a remote instance are methods of its class."""
        owner, _, name = fullname.rpartition(".")
        if owner != f"{_HANDLES}.RemoteInstance":
            return None
        return lambda context: _method(context, name)


def plugin(version: str) -> type[Plugin]:  # noqa: ARG001  (mypy passes it)
    """What mypy asks for."""
    return FarcallPlugin


def _decorated(context: ClassDefContext) -> bool:
    info = context.cls.info
    here = Instance(info, list(info.defn.type_vars))
    info.metadata[_MARK] = {}
    local = TypeType.make_normalized(here)
    add_attribute_to_class(context.api, context.cls, "local", local, is_classvar=True)
    return True


def _made(context: FunctionContext, remote: TypeInfo) -> Type:
    """What calling the class makes: by its name a remote instance, by `local` or `cls` one that is here."""
    called = context.context.callee if isinstance(context.context, CallExpr) else None
    by_name = isinstance(called, RefExpr) and isinstance(called.node, TypeInfo)
    return Instance(remote, [context.default_return_type]) if by_name else context.default_return_type


def _constructor(context: MethodSigContext) -> FunctionLike:
    instance, default = context.type, context.default_signature
    made = get_proper_type(instance.args[0]) if isinstance(instance, Instance) else None
    if not isinstance(made, Instance):
        return default
    constructor = type_object_type(made.type, _checker(context).named_type)
    if not isinstance(constructor, CallableType):
        return default
    return constructor.copy_modified(ret_type=default.ret_type, fallback=default.fallback)


def _checker(context: AttributeContext | MethodSigContext) -> TypeChecker:
    """The plugin interface leaves out what it takes to look at a class."""
    if not isinstance(context.api, TypeChecker):
        raise TypeError(f"mypy's checker is a {type(context.api).__name__}")
    return context.api


def _method(context: AttributeContext, name: str) -> Type:
    owner, default = get_proper_type(context.type), get_proper_type(context.default_attr_type)
    made = get_proper_type(owner.args[0]) if isinstance(owner, Instance) else None
    if not isinstance(made, Instance) or not isinstance(default, Instance):
        return default
    if made.type.get(name) is None:
        context.api.fail(f'"{made.type.name}" has no attribute "{name}"', context.context)
        return default
    checker = _checker(context).expr_checker
    found = checker.analyze_external_member_access(name, made, context.context)
    method = get_proper_type(found)
    if not isinstance(method, CallableType) or method.variables:
        return default
    parameters = Parameters(method.arg_types, method.arg_kinds, method.arg_names)
    return default.copy_modified(args=[parameters, _result(context, method.ret_type)])


def _result(context: AttributeContext, returned: Type) -> Type:
    """What a call gives whose method is annotated with `returned`."""
    proper = get_proper_type(returned)
    if not isinstance(proper, Instance):
        return returned
    kind = proper.type.fullname
    if kind in _AWAITED:
        return proper.args[_AWAITED[kind]]
    if kind in _COLLECTED:
        return context.api.named_generic_type("builtins.list", [proper.args[0]])
    return returned
