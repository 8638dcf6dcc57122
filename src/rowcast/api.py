"""The Python API: train, load, predict in memory, and batch prediction jobs.

>>> import rowcast
>>> model = rowcast.train("customers.csv", target="churn", name="churn")
>>> model.predict(dataframe)
>>> job = rowcast.BatchPredictionJob.create("churn", "new/*.csv", "scores/")
>>> job.wait().state
'JOB_STATE_SUCCEEDED'
"""

from __future__ import annotations

import math
import os
import re
import tempfile
import time
from dataclasses import asdict
from glob import iglob
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rowcast.backend import Backend, HttpBackend, Json, LocalBackend, find_model
from rowcast.core.job import FINISHED
from rowcast.core.tables import is_table_uri
from rowcast.errors import FailedPrecondition, InvalidRequest, NotFound
from rowcast.logins import token_for
from rowcast.settings import Settings, load_settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Self

    import pyarrow as pa

    from rowcast.core.model import ModelSpec
    from rowcast.core.schema import PredictionType
    from rowcast.scorer import Scorer
    from rowcast.stores import Model as ModelRecord
    from rowcast.training import Progress
    from rowcast.training.request import Objective, SplitRule

WILDCARD = re.compile(r"[*?\[]")
POLL_S = 0.2


class Model:
    """A trained model of a home folder, loaded into this process."""

    def __init__(self, record: ModelRecord) -> None:
        self._record = record
        self._scorer: Scorer | None = None

    @property
    def id(self) -> str:
        """Its id, which jobs name it by."""
        return self._record.id

    @property
    def name(self) -> str:
        """Its resource name."""
        return self._record.name

    @property
    def version(self) -> str:
        """Version id, counted up from 1."""
        return self._record.version_id

    def predict(self, data: Any, *, interval_level: float | None = None) -> pa.Table:
        """Score rows in this process, without a job.

        Parameters
        ----------
        data : dataframe or path
            A pandas, Polars or Arrow table (anything with the Arrow stream interface), or the
            path of a CSV, JSONL or Parquet file.
        interval_level : float, optional
            Share of true values that the bounds of a value are to hold, from 0.5 to 0.995.
            Default: what was asked for in training.

        Returns
        -------
        pyarrow.Table
            One row for each row of ``data``, in order: for a class ``<target>_<class>_score``,
            for a value ``predicted_<target>``, ``lower_bound`` and ``upper_bound``; and
            ``error``, null for a row that was scored. ``.to_pandas()`` makes it a dataframe.

        Raises
        ------
        MissingColumns
            If a feature column is absent.
        UnreadableInput
            If the file or the dataframe is not what it is said to be.
        NotFound
            If there is no such file.
        InvalidRequest
            If the model has no intervals, or none of that level.
        """
        scorer = self._loaded()
        return (scorer if interval_level is None else scorer.at_level(interval_level)).predict(data)

    def describe(self) -> Json:
        """What the model expects, predicts, and how good it is, as JSON values."""
        spec = self._loaded().spec
        target = spec.schema.target
        return {
            "name": spec.name,
            "id": self.id,
            "version": self.version,
            "target": target.name,
            "predictionType": target.prediction_type,
            "classes": list(target.classes),
            "features": [asdict(feature) for feature in spec.schema.features],
            "rows": spec.training.get("rows") or 0,
            "metrics": {
                name: _finite(value)
                for name, value in (spec.training.get("metrics") or {}).items()
                if value is None or isinstance(value, int | float)
            },
            "dropped": dict(spec.training.get("dropped") or {}),
            "warnings": list(spec.training.get("warnings") or []),
            "training": _finite(spec.training),
            "folder": self._record.folder,
        }

    def report(self, path: str | Path | None = None) -> str:
        """Write the model's report: how good it is, what it was made of, how to make it again.

        Parameters
        ----------
        path : path, optional
            File to write the report to; one that is there is replaced.

        Returns
        -------
        str
            One HTML page that needs no network, no script and no file beside it.

        Raises
        ------
        ModelDamaged
            If a file of the model is not the one that was saved.
        """
        from rowcast.report import read_subject, render_report

        record = self._record
        page = render_report(
            read_subject(
                Path(record.folder),
                record.digest,
                id_=record.id,
                version=record.version_id,
                created=record.created,
            )
        )
        if path is not None:
            Path(path).expanduser().write_text(page, "utf-8")
        return page

    def export(self, output: str | Path, *, onnx: bool = False) -> Path:
        """Write the model to a folder that scores without a server.

        Parameters
        ----------
        output : path
            Folder to make.
        onnx : bool
            Add the model as ONNX, once its answers are seen to be the model's own.

        Returns
        -------
        Path
            The folder: ``model/`` with the files as they are, and a ``README.md`` that says how
            to score with ``rowcast.scorer``.

        Raises
        ------
        AlreadyExists
            If the folder is there.
        Unimplemented
            If the model has what ONNX cannot say, naming it.
        """
        from rowcast.exporting import export_model

        record = self._record
        return export_model(
            Path(record.folder),
            record.digest,
            Path(output).expanduser(),
            name=f"{record.display_name} (version {record.version_id})",
            onnx=onnx,
        )

    def __repr__(self) -> str:
        return f"<rowcast.Model {self.id}@{self.version}>"

    def _loaded(self) -> Scorer:
        if self._scorer is None:
            from rowcast import scorer

            self._scorer = scorer.load(self._record.folder, self._record.digest)
        return self._scorer


def train(
    data: Any,
    *,
    target: str,
    name: str,
    home: str | Path | None = None,
    budget_s: float = 60.0,
    trials: int | None = None,
    prediction_type: PredictionType | None = None,
    objective: Objective | None = None,
    objective_value: float | None = None,
    transformations: Mapping[str, str | Mapping[str, object]] | None = None,
    weight: str | None = None,
    split: SplitRule | None = None,
    drop_null_target: bool = False,
    early_stopping: bool = True,
    max_scoring_cost: float | None = None,
    interval_level: float = 0.95,
    seed: int = 0,
    progress: Progress | None = None,
) -> Model:
    """Train a model and keep it in the home folder.

    Parameters
    ----------
    data : path, list of paths, or dataframe
        CSV, JSONL or Parquet files, patterns such as ``in/*.csv``, ``gs://`` URIs, a table
        ``bq://project.dataset.table``, or anything with the Arrow stream interface (pandas,
        Polars, Arrow).
    target : str
        Column to predict.
    name : str
        Display name. Training again under the same name adds a version, which becomes the
        default one.
    home : path, optional
        Default: the setting ``home``.
    budget_s : float
        Seconds to spend, at most.
    trials : int, optional
        Try exactly so many candidates in place of a budget of time, so that the same data and
        seed give the same model.
    prediction_type : {"classification", "regression"}, optional
        Default: what the target looks like.
    objective : str, optional
        What the model is to be the best at: ``maximize-au-roc`` (default for two classes),
        ``minimize-log-loss`` (for more), ``maximize-au-prc``, ``maximize-precision-at-recall``,
        ``maximize-recall-at-precision``, ``minimize-rmse`` (for a value), ``minimize-mae`` or
        ``minimize-rmsle``.
    objective_value : float, optional
        The recall of ``maximize-precision-at-recall``, or the precision of its opposite.
    transformations : mapping, optional
        Column name to numeric, categorical, timestamp, text or auto, or to the fields of
        ``rowcast.training.infer.Transformation``. Once one is given, columns that are not named
        are left out.
    weight : str, optional
        Column of row weights.
    split : SplitRule, optional
        How rows become training, validation and test rows. Default: 80/10/10 at random.
    drop_null_target : bool
        Leave out rows without a target instead of failing.
    early_stopping : bool
        Stop growing and tuning once held-out rows get no better.
    max_scoring_cost : float, optional
        Microseconds that scoring a row may take on one thread, roughly.
    interval_level : float
        Share of true values that a regression model's intervals are to hold.
    seed : int
        Of everything random.
    progress : callable, optional
        Called with (stage, fraction done, message).

    Returns
    -------
    Model
        The new version.

    Raises
    ------
    InvalidRequest
        Naming the column or row that cannot be used.
    NotFound
        If a file does not exist.
    """
    from rowcast.training import train as fit

    _check_name(name)
    settings = load_settings(home=home)
    with tempfile.TemporaryDirectory(prefix="rowcast-") as folder:
        trained = fit(
            _training_files(data, settings, Path(folder)),
            target=target,
            name=name,
            budget_s=budget_s,
            trials=trials,
            prediction_type=prediction_type,
            objective=objective,
            objective_value=objective_value,
            transformations=transformations,
            weight=weight,
            split=split,
            drop_null_target=drop_null_target,
            early_stopping=early_stopping,
            max_scoring_cost=max_scoring_cost,
            interval_level=interval_level,
            seed=seed,
            progress=progress,
        )
    return _keep(settings, name, trained.spec, trained.members)


def import_model(
    file: str | Path,
    *,
    name: str,
    target: str | None = None,
    schema: str | Path | None = None,
    example: str | Path | None = None,
    expected: str | Path | None = None,
    format: str = "auto",  # noqa: A002 - as on the command line
    prediction_type: PredictionType | None = None,
    digest: str | None = None,
    home: str | Path | None = None,
) -> Model:
    """Keep a model of another program in the home folder, ready for predictions and jobs.

    The file is read in a process of its own, tried on the example, and compared with what is
    expected of it or with the library that wrote it; ``Model.describe()["training"]["imported"]``
    says what was compared.

    Parameters
    ----------
    file : path
        LightGBM, XGBoost, CatBoost, ONNX or skops; see docs/models.md. Pickles are never opened.
        Or a model folder of Rowcast's own, which is taken over as it is.
    name : str
        Display name. A name that is there gets a new version.
    target : str, optional
        Name of what the model predicts; the schema may say it instead.
    schema : path, optional
        JSON that names the columns and what they are.
    example : path, optional
        CSV, JSONL or Parquet with the feature columns, perhaps with the target, and with expected
        answers in columns named as Rowcast's output names them.
    expected : path, optional
        A file with the expected answers to the example's rows instead.
    format : str
        Default: told from the file's content.
    prediction_type : {"classification", "regression"}, optional
        Where the file leaves it open.
    digest : str, optional
        SHA-256 of the ``model.json`` that a model folder must have. Default: what it states.
    home : path, optional
        Default: the setting ``home``.

    Returns
    -------
    Model
        The new version.

    Raises
    ------
    InvalidRequest
        If the file cannot be used, does not fit the columns, or answers something else than is
        expected; the first row that differs is shown.
    NotFound
        If a file does not exist.
    """
    from rowcast.bootstrap import open_import_engine
    from rowcast.importing import ImportRequest
    from rowcast.importing import import_model as read

    _check_name(name)
    settings = load_settings(home=home)
    request = ImportRequest(
        file=_absolute(os.fspath(file)),
        name=name,
        target=target,
        prediction_type=prediction_type,
        format=format,
        digest=digest,
        schema=_placed(schema),
        example=_placed(example),
        expected=_placed(expected),
    )
    engine = open_import_engine(settings)
    try:
        imported = read(engine, request)
    finally:
        engine.close()
    return _keep(settings, name, imported.spec, imported.members)


def _placed(path: str | Path | None) -> str | None:
    return None if path is None else _absolute(os.fspath(path))


def _check_name(name: str) -> None:
    if not 1 <= len(name) <= 128 or not name.isprintable() or not name.strip():
        raise InvalidRequest(f"name is {name!r}; it must have 1 to 128 printable characters.")


def _keep(settings: Settings, name: str, spec: ModelSpec, members: Mapping[str, bytes]) -> Model:
    """Save a model and register it as the next version of its name."""
    from rowcast.bootstrap import open_store
    from rowcast.core.names import Parent
    from rowcast.registry.versions import Entry, Registry

    store = open_store(settings)
    try:
        parent = Parent(settings.project, settings.location)
        registry = Registry(store, settings.model_folder)
        entry = Entry(parent, registry.id_for(parent, name), name)
        return Model(registry.add(entry, spec, members))
    finally:
        store.close()


def load(name: str, *, home: str | Path | None = None) -> Model:
    """Load a trained model by id or display name, optionally ``@VERSION``.

    Raises
    ------
    NotFound
        If the home folder has no such model.
    """
    from rowcast.bootstrap import open_store
    from rowcast.core.names import Parent

    settings = load_settings(home=home)
    store = open_store(settings)
    try:
        parent = Parent(settings.project, settings.location)
        models = sorted(store.list_models(parent), key=lambda m: m.id)
        plain, at, version = name.rpartition("@")
        for wanted, pinned in ((name, None), (plain, version)) if at else ((name, None),):
            named = [m.id for m in models if m.id == wanted]
            named = named or [m.id for m in models if m.display_name == wanted]
            if len(named) > 1:
                ids = ", ".join(named)
                raise NotFound(f"Several models have the name {wanted!r}; give one of {ids}.")
            if named:
                return Model(store.get_model(parent, named[0], pinned))
        known = ", ".join(sorted(m.display_name for m in models)) or "none yet"
        raise NotFound(f"There is no model {name!r} in {settings.home}. Models: {known}.")
    finally:
        store.close()


class BatchPredictionJob:
    """A batch prediction job, in this process or on a server.

    A job in this process runs while the object lives; ``wait`` for it, or use the object as a
    context manager.
    """

    def __init__(
        self,
        backend: Backend,
        resource: Json,
        reopen: Callable[[], LocalBackend | HttpBackend] | None = None,
    ) -> None:
        self._backend = backend
        self._resource = resource
        self._closed = False
        self._reopen = reopen

    @classmethod
    def create(
        cls,
        model: str | Model,
        source: str | Path | Sequence[str | Path],
        destination: str | Path,
        *,
        home: str | Path | None = None,
        server: str | None = None,
        token: str | None = None,
        instances_format: str | None = None,
        predictions_format: str | None = None,
        display_name: str | None = None,
        generate_explanation: bool = False,
        key_field: str | None = None,
        row_number_column: str | None = None,
        output_name: str | None = None,
        batch_size: int | None = None,
        max_replica_count: int | None = None,
        max_explanations: int | None = None,
        threshold_high: float | None = None,
        threshold_low: float | None = None,
        interval_columns: bool = False,
        interval_level: float | None = None,
    ) -> Self:
        """Start a job.

        Parameters
        ----------
        model : str or Model
            Id or display name of a model, optionally ``@VERSION``.
        source : path or sequence of paths
            Paths, patterns or ``gs://`` URIs; or one table, ``bq://project.dataset.table``.
        destination : path
            Folder or URI below which the output folder is made; or ``bq://project.dataset``, or
            ``bq://project`` to have a dataset made.
        home : path, optional
            Default: the setting ``home``.
        server : str, optional
            URL of a rowcast server; without it the job runs in this process.
        token : str, optional
            The server's token. Default: the one kept in ``home``.
        instances_format : {"csv", "jsonl", "parquet", "bigquery"}, optional
            Default: by the sources' names.
        predictions_format : {"csv", "jsonl", "parquet", "bigquery"}, optional
            Default: csv, or jsonl with explanations; bigquery for a destination that is.
        display_name : str, optional
            Name of the job.
        generate_explanation : bool
            Add Shapley attributions; in csv as columns ``<feature>_attribution``.
        key_field : str, optional
            Write this column as ``key`` in place of the input's columns.
        row_number_column : str, optional
            Add each row's number in the input under this name.
        output_name : str, optional
            Write one file of exactly this name.
        batch_size : int, optional
            Rows scored together.
        max_replica_count : int, optional
            Most processes to use.
        max_explanations : int, optional
            Keep only so many features of each explanation, the largest attributions first.
        threshold_high, threshold_low : float, optional
            Explain only rows whose output is at least ``threshold_high`` or at most
            ``threshold_low``: the value, the score of the second of two classes, or the highest
            score.
        interval_columns : bool
            Add the bounds of a predicted value to csv; jsonl and parquet have them anyway.
        interval_level : float, optional
            Share of true values that the bounds are to hold, from 0.5 to 0.995. Default: what
            was asked for in training.

        Raises
        ------
        InvalidRequest
            With every violation of the request.
        NotFound
            If the model does not exist.
        """
        sources = [source] if isinstance(source, str | os.PathLike) else source
        inputs = [os.fspath(item) for item in sources]
        output = os.fspath(destination)
        name = f"{model.id}@{model.version}" if isinstance(model, Model) else model
        body = request_body(
            model=name,
            inputs=inputs,
            output=output,
            input_format=instances_format or common_format(inputs),
            output_format=predictions_format
            or default_format(output, explain=generate_explanation),
            display_name=display_name,
            explain=generate_explanation,
            key=key_field,
            row_number=row_number_column,
            merge=output_name,
            batch_size=batch_size,
            replicas=max_replica_count,
            max_explanations=max_explanations,
            threshold_high=threshold_high,
            threshold_low=threshold_low,
            interval_columns=interval_columns,
            interval_level=interval_level,
        )
        backend = open_backend(home=home, server=server, token=token, paths=[*inputs, output])
        try:
            body["model"] = find_model(backend, name)
            return cls(
                backend,
                backend.create(body),
                lambda: open_backend(home=home, server=server, token=token),
            )
        except BaseException:
            backend.close()
            raise

    @property
    def name(self) -> str:
        """Resource name."""
        return str(self._resource["name"])

    @property
    def resource(self) -> Json:
        """The job as the REST API shows it, as of the last ``refresh``."""
        return self._resource

    @property
    def state(self) -> str:
        """``JOB_STATE_SUCCEEDED`` and so on, as of the last ``refresh``."""
        return str(self._resource["state"])

    @property
    def error(self) -> str | None:
        """Why the job failed, as of the last ``refresh``."""
        found: str | None = self._resource.get("error", {}).get("message")
        return found

    @property
    def output_directory(self) -> str | None:
        """Where the results are; set once the job runs."""
        info = self._resource.get("outputInfo", {})
        directory: str | None = info.get("gcsOutputDirectory")
        return directory

    @property
    def output_table(self) -> str | None:
        """The predictions as ``bq://project.dataset.table``; set once a job into tables runs."""
        info = self._resource.get("outputInfo", {})
        if "bigqueryOutputTable" not in info:
            return None
        return f"{info['bigqueryOutputDataset']}.{info['bigqueryOutputTable']}"

    def refresh(self) -> Self:
        """Look the job up again."""
        if not self._closed:
            self._resource = self._backend.get(self.name)
        return self

    def wait(self, timeout_s: float | None = None) -> Self:
        """Wait for the job's end; see ``state`` for how it ended.

        Raises
        ------
        TimeoutError
            If it has not ended within ``timeout_s``. The job goes on.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while self.refresh().state not in FINISHED:
            if self._closed:
                raise FailedPrecondition(f"{self.name} was closed before its end.")
            if deadline is not None and time.monotonic() > deadline:
                raise TimeoutError(f"{self.name} is still in {self.state}.")
            time.sleep(POLL_S)
        self.close()
        return self

    def report(self, path: str | Path | None = None) -> str:
        """Write the job's report: failed rows, predictions, what mattered to them, drift.

        Parameters
        ----------
        path : path, optional
            File to write the report to; one that is there is replaced.

        Returns
        -------
        str
            One HTML page that needs no network, no script and no file beside it.
        """
        if self._closed and self._reopen is not None:
            with self._reopen() as backend:
                page = backend.report(self.name)
        else:
            page = self._backend.report(self.name)
        if path is not None:
            Path(path).expanduser().write_text(page, "utf-8")
        return page

    def cancel(self) -> None:
        """Ask the job to stop; the parts that are done are published.

        Raises
        ------
        FailedPrecondition
            If it has ended.
        """
        if self._closed:
            raise FailedPrecondition(f"{self.name} is in {self.state}, and closed.")
        self._backend.cancel(self.name)

    def close(self) -> None:
        """Let go of the backend. A job that runs in this process is left unfinished, for
        ``rowcast jobs resume`` or the next server to finish.
        """
        if not self._closed:
            self._closed = True
            self._backend.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<rowcast.BatchPredictionJob {self.name.rsplit('/', 1)[-1]} {self.state}>"


def open_backend(
    *,
    home: str | Path | None = None,
    server: str | None = None,
    token: str | None = None,
    paths: Iterable[str] = (),
) -> LocalBackend | HttpBackend:
    """Choose where jobs run: on ``server``, or in this process.

    ``paths`` are the local files and folders that the caller has named, and thereby allowed.
    """
    from rowcast.core.names import Parent

    settings = load_settings(home=home)
    if server is not None:
        parent = Parent(settings.project, settings.location)
        authority = settings.tls_folder / "ca.pem"
        return HttpBackend(server, token or token_for(settings, server), parent, authority)
    return LocalBackend(settings, _roots(paths))


def request_body(
    *,
    model: str,
    inputs: Sequence[str],
    output: str,
    input_format: str,
    output_format: str,
    display_name: str | None = None,
    explain: bool = False,
    key: str | None = None,
    batch_size: int | None = None,
    replicas: int | None = None,
    row_number: str | None = None,
    merge: str | None = None,
    check: bool = False,
    max_explanations: int | None = None,
    threshold_high: float | None = None,
    threshold_low: float | None = None,
    interval_columns: bool = False,
    interval_level: float | None = None,
) -> Json:
    """Write the REST request of a job. Local paths become absolute.

    CSV is told to have columns for attributions if they are wanted: there is no other place.

    Raises
    ------
    InvalidRequest
        If there is no input.
    """
    if not inputs:
        raise InvalidRequest("There is nothing to score: name at least one input.")
    extension: Json = {
        name: value
        for name, value in (
            ("rowNumberColumn", row_number),
            ("outputName", merge),
            ("validateOnly", check),
            ("attributionColumns", explain and output_format == "csv"),
            ("intervalColumns", interval_columns),
        )
        if value
    }
    extension |= {
        name: number
        for name, number in (
            ("maxExplanations", max_explanations),
            ("thresholdHigh", threshold_high),
            ("thresholdLow", threshold_low),
            ("intervalLevel", interval_level),
        )
        if number is not None
    }
    body: Json = {
        "displayName": display_name or _job_name(model, inputs),
        "model": model,
        "inputConfig": {"instancesFormat": input_format, **_source(inputs)},
        "outputConfig": {"predictionsFormat": output_format, **_destination(output)},
    }
    if explain:
        body["generateExplanation"] = True
    if key:
        body["instanceConfig"] = {"keyField": key}
    if batch_size is not None:
        body["manualBatchTuningParameters"] = {"batchSize": batch_size}
    if replicas is not None:
        body["dedicatedResources"] = {
            "machineSpec": {"machineType": "local"},
            "startingReplicaCount": 1,
            "maxReplicaCount": replicas,
        }
    if extension:
        body["rowcast"] = extension
    return body


def _source(inputs: Sequence[str]) -> Json:
    if not any(map(is_table_uri, inputs)):
        return {"gcsSource": {"uris": [_absolute(uri) for uri in inputs]}}
    if len(inputs) > 1:
        raise InvalidRequest("A job reads one table, or files; start a job for each table.")
    return {"bigquerySource": {"inputUri": inputs[0]}}


def _destination(output: str) -> Json:
    if is_table_uri(output):
        return {"bigqueryDestination": {"outputUri": output}}
    return {"gcsDestination": {"outputUriPrefix": _absolute(output)}}


def default_format(output: str, *, explain: bool) -> str:
    """What results are written as unless told otherwise."""
    return "bigquery" if is_table_uri(output) else "jsonl" if explain else "csv"


def _absolute(uri: str) -> str:
    return uri if "://" in uri else os.path.abspath(os.path.expanduser(uri))  # noqa: PTH100, PTH111


def common_format(inputs: Sequence[str]) -> str:
    """Tell the format of all inputs from their names.

    Raises
    ------
    InvalidRequest
        If they are of several formats, which one job cannot read.
    """
    from rowcast.sources import format_of

    formats = {format_of(uri): uri for uri in reversed(inputs)}
    if len(formats) > 1:
        found = ", ".join(f"{uri} is {name}" for name, uri in sorted(formats.items()))
        raise InvalidRequest(
            f"A job reads inputs of one format, but {found}. Start a job for each, or name the "
            "format if their names mislead."
        )
    return next(iter(formats), "csv")


def _job_name(model: str, inputs: Sequence[str]) -> str:
    last = inputs[0].rstrip("/").rsplit("/", 1)[-1]
    more = f" +{len(inputs) - 1}" if len(inputs) > 1 else ""
    return f"{model.rsplit('/', 1)[-1][:40]} {last[:70]}{more}"


def _roots(paths: Iterable[str]) -> list[Path]:
    """The folders that hold what the user named on their own machine, links followed."""
    roots: list[Path] = []
    for path in paths:
        if "://" in path:
            continue
        absolute = Path(_absolute(path))
        if WILDCARD.search(str(absolute)):
            links = (Path(found) for found in iglob(str(absolute), recursive=True))  # noqa: PTH207
            roots += {link.resolve().parent for link in links if link.is_symlink()}
        for folder in (absolute.parent, Path(os.path.realpath(absolute)).parent):
            fixed = list(takewhile(lambda part: not WILDCARD.search(part), folder.parts))
            roots.append(_existing(folder if folder.is_dir() else Path(*fixed)))
    return roots


def _existing(folder: Path) -> Path:
    """The folder itself, or the nearest one above it that is there."""
    return next((one for one in (folder, *folder.parents) if one.is_dir()), Path("/"))


def _training_files(data: Any, settings: Settings, folder: Path) -> Any:
    """Turn patterns and URIs into the paths of files, and a warehouse table into its rows.

    A dataframe is left as it is. Objects of an object store are copied to ``folder``.
    """
    from rowcast.storage.objects import Objects, Roots

    if isinstance(data, str | os.PathLike):
        data = [data]
    if not isinstance(data, list | tuple) or not all(
        isinstance(item, str | os.PathLike) for item in data
    ):
        return data
    if not data:
        raise InvalidRequest("There is nothing to train on: name at least one file.")
    names = [_absolute(os.fspath(item)) for item in data]
    if any(map(is_table_uri, names)):
        return _training_table(names, settings)
    roots = (*settings.local_roots, *_roots(names))
    objects = Objects(
        Roots(
            settings.bucket_folder,
            settings.s3_bucket_folder,
            roots,
            settings.remote_buckets,
            settings.object_store_retry_s,
        )
    )
    files: list[Path] = []
    for given, name in zip(data, names, strict=True):
        if "://" not in name and (Path(name).is_file() or not WILDCARD.search(name)):
            if Path(name).is_dir():
                raise InvalidRequest(f"{given} is a folder; name its files, as in '{given}/*.csv'.")
            files.append(Path(name))
        else:
            files += [objects.fetch(found.uri, folder) for found in objects.list(name)]
    return list(dict.fromkeys(files))


def _training_table(names: Sequence[str], settings: Settings) -> pa.Table:
    """The rows of a table of the home folder's warehouse."""
    from rowcast.bootstrap import open_warehouse
    from rowcast.core.tables import TableName

    if len(names) > 1:
        raise InvalidRequest("A model is trained on one table, or on files; not on both.")
    warehouse = open_warehouse(settings)
    try:
        with warehouse.scan(TableName.parse(names[0])) as reader:
            return reader.read_all()
    finally:
        warehouse.close()


def _finite(value: Any) -> Any:
    """Put None in the place of every number that JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
