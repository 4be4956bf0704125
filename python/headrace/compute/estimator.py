"""What scikit-learn asks of an estimator, without scikit-learn: parameters by name, a readable form, tags."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Self

from headrace.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping


class Estimator:
    """Base of classes whose constructor stores each of its arguments under the argument's name, and does nothing else.

    That makes them estimators to scikit-learn: `clone`, `Pipeline`, `ColumnTransformer` and `GridSearchCV` take them.
    Its modules are imported only when it asks for tags.
    """

    def get_params(self, deep: bool = True) -> dict[str, Any]:  # noqa: ARG002  # no parameter is an estimator
        """The parameters by name; `deep` changes nothing here."""
        return {name: getattr(self, name) for name in self._parameters()}

    def set_params(self, **params: Any) -> Self:
        """Change parameters by name. An unknown one is a `ConfigError`, and then none is changed."""
        known = self._parameters()
        for name in params:
            if name not in known:
                raise ConfigError(
                    f"invalid parameter {name!r} for {type(self).__name__}",
                    hint=f"Its parameters are {', '.join(known)}.",
                )
        for name, value in params.items():
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        defaults = self._parameters()
        changed = (
            f"{name}={value!r}"
            for name, value in self.get_params().items()
            if not (value is defaults[name] or repr(value) == repr(defaults[name]))
        )
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_tags__(self) -> Any:
        """A transformer that needs no fit."""
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(),
            requires_fit=False,
            input_tags=InputTags(two_d_array=False),
        )

    @classmethod
    def _parameters(cls) -> Mapping[str, Any]:
        """Names and defaults, as the constructor has them."""
        arguments = list(inspect.signature(cls.__init__).parameters.values())[1:]
        return {argument.name: argument.default for argument in arguments}
