"""Reads Sigma rules from files, and translates them for the indices of a cluster."""

from __future__ import annotations

from datetime import timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import msgspec
import yaml
from sigma import exceptions
from sigma.collection import SigmaCollection
from sigma.correlations import (
    SigmaCorrelationCondition,
    SigmaCorrelationConditionOperator,
    SigmaCorrelationRule,
    SigmaCorrelationType,
)
from sigma.exceptions import SigmaError
from sigma.rule import SigmaRule

from worker.detect.conditions import rule_clause
from worker.detect.rules import LEVELS, Correlation, DetectionRule, RefusedRule, RuleInfo, RuleSet
from worker.errors import SetupError
from worker.opensearch.query_values import any_of, refuse

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from sigma.filters import SigmaFilter

    from worker.opensearch.field_kinds import FieldKinds

    Clause = dict[str, Any]
    SomeRule = SigmaRule | SigmaCorrelationRule

# What only describes a rule may be wrong: what it finds does not depend on it.
_METADATA_ERRORS = (
    exceptions.SigmaAuthorError,
    exceptions.SigmaDateError,
    exceptions.SigmaDescriptionError,
    exceptions.SigmaFalsePositivesError,
    exceptions.SigmaFieldsError,
    exceptions.SigmaIdentifierError,
    exceptions.SigmaLevelError,
    exceptions.SigmaLicenseError,
    exceptions.SigmaModifiedError,
    exceptions.SigmaNameError,
    exceptions.SigmaReferencesError,
    exceptions.SigmaRelatedError,
    exceptions.SigmaScopeError,
    exceptions.SigmaStatusError,
    exceptions.SigmaTagError,
    exceptions.SigmaTaxonomyError,
    exceptions.SigmaTitleError,
)
# Besides its own errors, pySigma raises these for members of a wrong type.
_RULE_ERRORS = (SigmaError, SetupError, AttributeError, KeyError, TypeError, ValueError)

_MEMBERS = ("detection", "correlation", "filter", "action")
_COUNTS = {SigmaCorrelationType.EVENT_COUNT, SigmaCorrelationType.VALUE_COUNT}


def read_rules(paths: Iterable[Path], kinds: FieldKinds) -> RuleSet:
    """Read the rules for CloudTrail of files and folders; raises SetupError when none of them holds a rule.

    A rule that cannot be read or searched for is among the refused ones.
    """
    files = list(_rule_files(paths))
    reader = _RuleReader(kinds)
    for path in files:
        reader.read(path)
    if not (reader.documents or reader.refused):
        raise SetupError(f"No Sigma rule was found in {len(files)} files: pass a file, or a folder of .yml files.")
    return reader.rule_set()


def _rule_files(paths: Iterable[Path]) -> Iterator[Path]:
    """Yield the files of a checkout; those of hidden folders, such as .github, are no rules."""
    for path in paths:
        if not path.exists():
            raise SetupError(f"There is no file or folder {path}.")
        if path.is_file():
            yield path
            continue
        for file in sorted(path.rglob("*.y*ml")):
            hidden = any(part.startswith(".") for part in file.relative_to(path).parts)
            if file.suffix in (".yml", ".yaml") and not hidden and file.is_file():
                yield file


class _RuleReader:
    """Collects rules file by file: correlations and filters refer to rules of other files."""

    def __init__(self, kinds: FieldKinds) -> None:
        self._kinds = kinds
        self._rules: list[tuple[SomeRule, str]] = []
        self._filters: list[SigmaFilter] = []
        self._other_names: set[str] = set()
        self._others = 0
        self.documents = 0
        self.refused: list[RefusedRule] = []

    def read(self, path: Path) -> None:
        """Read the rules of one file."""
        try:
            documents = list(yaml.load_all(path.read_bytes(), Loader=_LOADER))
        except (OSError, ValueError, yaml.YAMLError) as error:
            self._refuse_file(path, f"The file cannot be read: {' '.join(str(error).split())}.")
            return
        documents = [
            document
            for document in documents
            if isinstance(document, dict) and any(name in document for name in _MEMBERS)
        ]
        self.documents += len(documents)
        if "action" in {name for document in documents for name in document}:
            self._parse(path, documents)
            return
        for document in documents:
            if _is_of_cloudtrail(document):
                self._parse(path, [document])
            else:
                self._others += 1
                self._other_names |= {str(document[name]) for name in ("id", "name", "title") if document.get(name)}

    def _parse(self, path: Path, documents: list[dict[str, Any]]) -> None:
        """Parse the documents that make up a rule: one or, with the old `action`, all of a file."""
        try:
            collection = SigmaCollection.from_dicts(
                documents, collect_errors=True, collect_filters=True, resolve_references=False
            )
        except _RULE_ERRORS as error:
            self._refuse_file(path, f"The rule cannot be read: {_sentence(error)}")
            return
        rules = [rule for rule in collection.rules if not _is_of_other_source(rule)]
        self._others += len(collection.rules) - len(rules)
        self._rules += [(rule, str(path)) for rule in rules]
        self._filters += collection.filters

    def _refuse_file(self, path: Path, reason: str) -> None:
        self.refused.append(RefusedRule(RuleInfo(str(path), path.stem, "", (), str(path)), reason))

    def rule_set(self) -> RuleSet:
        """Translate what was read."""
        names = _names(rule for rule, _ in self._rules)
        counted = {
            id(names[reference.reference])
            for rule, _ in self._rules
            if isinstance(rule, SigmaCorrelationRule) and not rule.generate
            for reference in rule.rules or ()
            if reference.reference in names
        }
        rules: dict[str, DetectionRule] = {}
        refused, copies, others = list(self.refused), 0, self._others
        for rule, file in self._rules:
            if id(rule) in counted:  # it is there to be counted, unless the correlation says `generate`
                continue
            if self._counts_other_sources(rule):
                others += 1
                continue
            info = _info(rule, file)
            try:
                translated = self._translate(rule, info, names)
            except _RULE_ERRORS as error:
                refused.append(RefusedRule(info, _sentence(error)))
                continue
            key = info.key if info.key not in rules else f"{info.key}-{_digest(msgspec.json.encode(translated.clause))}"
            is_copy = any(rules[name].clause == translated.clause for name in (info.key, key) if name in rules)
            copies += is_copy
            if not is_copy:
                rules[key] = DetectionRule(_info(rule, file, key), translated.clause, translated.correlation)
        return RuleSet(tuple(rules.values()), tuple(refused), others, copies)

    def _counts_other_sources(self, rule: SomeRule) -> bool:
        """Return whether a correlation, which names no source itself, is of rules for other sources."""
        references = rule.rules or () if isinstance(rule, SigmaCorrelationRule) else ()
        return any(reference.reference in self._other_names for reference in references)

    def _translate(self, rule: SomeRule, info: RuleInfo, names: dict[str, SomeRule]) -> DetectionRule:
        if isinstance(rule, SigmaRule):
            return DetectionRule(info, self._clause(rule))
        _check(rule)
        clauses = []
        for reference in rule.rules or ():
            referenced = names.get(reference.reference)
            if referenced is None:
                refuse(f"The rule counts events of the rule {reference.reference}, which was not found")
            if not isinstance(referenced, SigmaRule):
                refuse("A correlation of correlations is not supported")
            clauses.append(self._clause(referenced))
        return DetectionRule(info, any_of(clauses), _correlation(rule))

    def _clause(self, rule: SigmaRule) -> Clause:
        _check(rule)
        for filter_ in self._filters:
            filtered = filter_.apply_on_rule(rule)
            if isinstance(filtered, SigmaRule):
                rule = filtered
        return rule_clause(rule, self._kinds)


_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def _is_of_cloudtrail(document: dict[str, Any]) -> bool:
    """Return whether a rule is for CloudTrail; correlations need not name a source, and filters apply by rule."""
    source = document.get("logsource")
    if not isinstance(source, dict):
        return "correlation" in document or "filter" in document
    return source.get("product") == "aws" and source.get("service") == "cloudtrail"


def _is_of_other_source(rule: SomeRule) -> bool:
    """Return whether a rule that was put together of several documents is not for CloudTrail."""
    if not isinstance(rule, SigmaRule) or rule.logsource is None:
        return False
    return (rule.logsource.product, rule.logsource.service) != ("aws", "cloudtrail")


def _names(rules: Iterable[SomeRule]) -> dict[str, SomeRule]:
    """Return rules by what correlations may call them: id, name or, as some rule sets do, title."""
    names: dict[str, SomeRule] = {}
    for rule in rules:
        for name in (rule.id, rule.name, rule.title):
            if name:
                names.setdefault(str(name), rule)
    return names


def _check(rule: SomeRule) -> None:
    """Raise the error of a rule that has one, unless it only describes the rule wrongly."""
    for error in rule.errors:
        if not isinstance(error, _METADATA_ERRORS):
            raise error


def _correlation(rule: SigmaCorrelationRule) -> Correlation:
    condition = rule.condition
    if rule.type not in _COUNTS or not isinstance(condition, SigmaCorrelationCondition):
        refuse(f"Correlations of the type {rule.type.name.lower()} are not supported; event_count and value_count are")
    if condition.op not in (SigmaCorrelationConditionOperator.GTE, SigmaCorrelationConditionOperator.GT):
        refuse("A correlation must have a minimum, gte or gt: that something did not happen is the event of no moment")
    if len(rule.aliases):
        refuse("Field aliases in a correlation are not supported: all events are CloudTrail's, with the same names")
    fields: tuple[str, ...] = ()
    if rule.type is SigmaCorrelationType.VALUE_COUNT and condition.fieldref:
        fields = (condition.fieldref,) if isinstance(condition.fieldref, str) else tuple(condition.fieldref)
    minimum = condition.count + (condition.op is SigmaCorrelationConditionOperator.GT)
    return Correlation(tuple(rule.group_by or ()), timedelta(seconds=rule.timespan.seconds), minimum, fields)


def _info(rule: SomeRule, file: str, key: str = "") -> RuleInfo:
    title = str(rule.title or file)
    level = str(getattr(rule.level, "name", "")).lower()  # pySigma leaves a wrong one as it is
    tags = tuple(str(tag) for tag in rule.tags) if isinstance(rule.tags, list) else ()
    return RuleInfo(key or str(rule.id or _digest(title.encode())), title, level if level in LEVELS else "", tags, file)


def _digest(content: bytes) -> str:
    return sha256(content).hexdigest()[:32]


def _sentence(error: Exception) -> str:
    """Return what is wrong with a rule, as one sentence."""
    text = " ".join(str(error).split()) or type(error).__name__
    return f"{text.rstrip('.')}."
