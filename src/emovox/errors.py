"""The errors that emovox raises: each names what is wrong, where, and what to do about it."""

from __future__ import annotations

from os import PathLike


class EmovoxError(Exception):
    """Base of every error that a user of emovox can cause or meet.

    Args:
        message: what is wrong, with the value and the limit.
        code: a stable, machine-readable word such as ``too_short``; defaults to the class's own.
        path: the file that it is about, if any.
        remedy: what the user can do.

    Example:
        >>> error = EmovoxError("12 s is too long", code="too_long", path="a.wav", remedy="Use --timeline.")
        >>> str(error)
        'a.wav: 12 s is too long. Use --timeline.'
        >>> error.code
        'too_long'
    """

    default_code = "error"

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        path: str | PathLike[str] | None = None,
        remedy: str | None = None,
    ) -> None:
        self.message = message
        self.code = code or self.default_code
        self.path = None if path is None else str(path)
        self.remedy = remedy
        super().__init__(message)

    def __str__(self) -> str:
        text = self.message if self.path is None else f"{self.path}: {self.message}"
        if self.remedy is None:
            return text
        return f"{text.rstrip('.')}. {self.remedy}"

    def __reduce__(self) -> tuple[object, ...]:
        # Worker processes send errors back; keyword-only arguments need help to survive the trip.
        return (_rebuild, (type(self), self.message, self.code, self.path, self.remedy))


def _rebuild(kind: type[EmovoxError], message: str, code: str, path: str | None, remedy: str | None) -> EmovoxError:
    return kind(message, code=code, path=path, remedy=remedy)


class ParameterError(EmovoxError):
    """An argument has a value that makes no sense."""

    default_code = "bad_parameter"


class AudioError(EmovoxError):
    """A recording cannot be used; `code` is one of the codes listed in `emovox.audio`."""

    default_code = "not_audio"


class ManifestError(EmovoxError):
    """A manifest lacks a column, or a row of it holds a value that cannot be."""

    default_code = "bad_manifest"


class CorpusError(EmovoxError):
    """A corpus cannot be recognised, read or downloaded."""

    default_code = "bad_corpus"


class FeatureError(EmovoxError):
    """A feature set is unknown or cannot be computed."""

    default_code = "bad_features"


class ModelError(EmovoxError):
    """A model is unknown, unfitted or cannot be built."""

    default_code = "bad_model"


class ProtocolError(EmovoxError):
    """An evaluation protocol cannot be carried out on these rows."""

    default_code = "bad_protocol"


class BundleError(EmovoxError):
    """A file is not an emovox bundle, is damaged, or comes from a newer emovox."""

    default_code = "not_a_bundle"


class AdaptationError(EmovoxError):
    """A reference cannot be made, read or used with this model; see `emovox.inference.adaptation`."""

    default_code = "not_a_reference"


class MissingExtraError(EmovoxError):
    """Something needs a package that the light installation leaves out."""

    default_code = "missing_extra"

    @classmethod
    def for_extra(cls, extra: str, feature: str) -> MissingExtraError:
        """Say which extra brings `feature`."""
        return cls(f"{feature} needs packages of the extra '{extra}'", remedy=f"pip install 'emovox[{extra}]'")
