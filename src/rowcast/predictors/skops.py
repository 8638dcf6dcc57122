"""What a skops file may hold: looked through before anything in it is made.

skops makes whatever class it is told to trust. Ours is a list of what is only data: no functions
but NumPy's own, no methods, no partials, nothing that reaches for files or modules; and of
scikit-learn nothing whose compiled code takes the sizes of its arrays on trust (nearest
neighbours, kernel machines). Whatever is not on the list is refused by its name.
"""

from __future__ import annotations

import io
import json
import re
import stat
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from rowcast.errors import InvalidRequest, ModelDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = "schema.json"
MOST_ENTRIES = 200_000
MOST_BYTES = 2 << 30
"""Of all entries, unpacked."""
MOST_SCHEMA_BYTES = 256 << 20
MOST_ALLOWED_SHOWN = 5
_ENTRY = re.compile(r"[0-9A-Za-z_-]{1,100}\.(npy|npz|bin)|schema\.json")
_LINK_BITS = 16

_LOADERS = """ObjectNode DictNode DefaultDictNode ListNode TupleNode SetNode JsonNode TypeNode
    SliceNode NdArrayNode MaskedArrayNode SparseMatrixNode RandomStateNode RandomGeneratorNode
    DTypeNode TreeNode LossNode FunctionNode CachedNode BytesNode"""
LOADERS = frozenset(_LOADERS.split())
"""Kinds of nodes; absent are those that call what they name (methods, partials, operators)."""

_NUMPY_TYPES = """bool bool_ int8 int16 int32 int64 uint8 uint16 uint32 uint64 float16 float32
    float64 longdouble str_ bytes_ object_ datetime64 timedelta64 ndarray dtype intp uintp"""
_FUNCTIONS = """abs absolute arcsinh arctan cbrt ceil cos cosh deg2rad degrees exp exp2 expm1 fabs
    floor log log10 log1p log2 negative positive rad2deg radians reciprocal rint sign sin sinh sqrt
    square tan tanh trunc"""

TYPES: dict[str, str] = {
    "builtins": """bool bytes complex dict float frozenset int list NoneType object range set slice
        str tuple""",
    "collections": "defaultdict OrderedDict",
    "numpy": _NUMPY_TYPES,
    "numpy.ma": "MaskedArray",
    "numpy.ma.core": "MaskedArray",
    "numpy.random": "RandomState Generator PCG64 MT19937",
    "numpy.random.mtrand": "RandomState",
    "numpy.random._generator": "Generator",
    "numpy.random._pcg64": "PCG64",
    "numpy.random._mt19937": "MT19937",
    "numpy.random.bit_generator": "SeedSequence",
    "scipy.sparse": """csr_matrix csc_matrix coo_matrix csr_array csc_array coo_array dia_matrix
        dia_array""",
    "scipy.sparse._csr": "csr_matrix csr_array",
    "scipy.sparse._csc": "csc_matrix csc_array",
    "scipy.sparse._coo": "coo_matrix coo_array",
    "scipy.sparse._dia": "dia_matrix dia_array",
    "sklearn._loss._loss": """CyAbsoluteError CyExponentialLoss CyHalfBinomialLoss CyHalfGammaLoss
        CyHalfMultinomialLoss CyHalfPoissonLoss CyHalfSquaredError CyHalfTweedieLoss
        CyHalfTweedieLossIdentity CyHuberLoss CyPinballLoss""",
    "sklearn._loss.link": """HalfLogitLink IdentityLink Interval LogLink LogitLink
        MultinomialLogit""",
    "sklearn._loss.loss": """AbsoluteError ExponentialLoss HalfBinomialLoss HalfGammaLoss
        HalfMultinomialLoss HalfPoissonLoss HalfSquaredError HalfTweedieLoss
        HalfTweedieLossIdentity HuberLoss PinballLoss""",
    "sklearn.calibration": "CalibratedClassifierCV _CalibratedClassifier _SigmoidCalibration",
    "sklearn.compose._column_transformer": "ColumnTransformer",
    "sklearn.compose._target": "TransformedTargetRegressor",
    "sklearn.cross_decomposition._pls": "PLSRegression",
    "sklearn.decomposition._pca": "PCA",
    "sklearn.decomposition._truncated_svd": "TruncatedSVD",
    "sklearn.discriminant_analysis": "LinearDiscriminantAnalysis QuadraticDiscriminantAnalysis",
    "sklearn.dummy": "DummyClassifier DummyRegressor",
    "sklearn.ensemble._bagging": "BaggingClassifier BaggingRegressor",
    "sklearn.ensemble._forest": """ExtraTreesClassifier ExtraTreesRegressor RandomForestClassifier
        RandomForestRegressor""",
    "sklearn.ensemble._gb": "GradientBoostingClassifier GradientBoostingRegressor",
    "sklearn.ensemble._hist_gradient_boosting.binning": "_BinMapper",
    "sklearn.ensemble._hist_gradient_boosting.gradient_boosting": """HistGradientBoostingClassifier
        HistGradientBoostingRegressor""",
    "sklearn.ensemble._hist_gradient_boosting.predictor": "TreePredictor",
    "sklearn.ensemble._stacking": "StackingClassifier StackingRegressor",
    "sklearn.ensemble._voting": "VotingClassifier VotingRegressor",
    "sklearn.ensemble._weight_boosting": "AdaBoostClassifier AdaBoostRegressor",
    "sklearn.feature_extraction._hash": "FeatureHasher",
    "sklearn.feature_extraction.text": """CountVectorizer HashingVectorizer TfidfTransformer
        TfidfVectorizer""",
    "sklearn.feature_selection._from_model": "SelectFromModel",
    "sklearn.feature_selection._rfe": "RFE RFECV",
    "sklearn.feature_selection._univariate_selection": """SelectFdr SelectFpr SelectFwe SelectKBest
        SelectPercentile""",
    "sklearn.feature_selection._variance_threshold": "VarianceThreshold",
    "sklearn.impute._base": "MissingIndicator SimpleImputer",
    "sklearn.isotonic": "IsotonicRegression",
    "sklearn.linear_model._base": "LinearRegression",
    "sklearn.linear_model._bayes": "ARDRegression BayesianRidge",
    "sklearn.linear_model._coordinate_descent": "ElasticNet ElasticNetCV Lasso LassoCV",
    "sklearn.linear_model._glm.glm": "GammaRegressor PoissonRegressor TweedieRegressor",
    "sklearn.linear_model._huber": "HuberRegressor",
    "sklearn.linear_model._least_angle": "Lars LarsCV LassoLars LassoLarsCV LassoLarsIC",
    "sklearn.linear_model._logistic": "LogisticRegression LogisticRegressionCV",
    "sklearn.linear_model._omp": "OrthogonalMatchingPursuit OrthogonalMatchingPursuitCV",
    "sklearn.linear_model._passive_aggressive": "PassiveAggressiveRegressor",
    "sklearn.linear_model._perceptron": "Perceptron",
    "sklearn.linear_model._quantile": "QuantileRegressor",
    "sklearn.linear_model._ridge": "Ridge RidgeCV RidgeClassifier RidgeClassifierCV",
    "sklearn.linear_model._stochastic_gradient": "SGDClassifier SGDRegressor",
    "sklearn.linear_model._theil_sen": "TheilSenRegressor",
    "sklearn.multiclass": "OneVsRestClassifier _ConstantPredictor",
    "sklearn.naive_bayes": "BernoulliNB CategoricalNB ComplementNB GaussianNB MultinomialNB",
    "sklearn.neural_network._multilayer_perceptron": "MLPClassifier MLPRegressor",
    "sklearn.neural_network._stochastic_optimizers": "AdamOptimizer SGDOptimizer",
    "sklearn.pipeline": "FeatureUnion Pipeline",
    "sklearn.preprocessing._data": """Binarizer MaxAbsScaler MinMaxScaler Normalizer
        PowerTransformer QuantileTransformer RobustScaler StandardScaler""",
    "sklearn.preprocessing._discretization": "KBinsDiscretizer",
    "sklearn.preprocessing._encoders": "OneHotEncoder OrdinalEncoder",
    "sklearn.preprocessing._function_transformer": "FunctionTransformer",
    "sklearn.preprocessing._label": "LabelBinarizer LabelEncoder",
    "sklearn.preprocessing._polynomial": "PolynomialFeatures SplineTransformer",
    "sklearn.preprocessing._target_encoder": "TargetEncoder",
    "sklearn.svm._classes": "LinearSVC LinearSVR",
    "sklearn.tree._classes": """DecisionTreeClassifier DecisionTreeRegressor ExtraTreeClassifier
        ExtraTreeRegressor""",
    "sklearn.tree._tree": "Tree",
    "sklearn.utils._bunch": "Bunch",
}
"""Modules, as skops writes them down, and the classes in them that may be made."""

_ALLOWED = frozenset(
    f"{module}.{name}" for module, names in TYPES.items() for name in names.split()
)
_ALLOWED_FUNCTIONS = frozenset(f"numpy.{name}" for name in _FUNCTIONS.split())


def check_archive(content: bytes) -> set[str]:
    """Look through a skops file without making anything of it.

    Returns
    -------
    set of str
        The types that it holds; all of them are allowed.

    Raises
    ------
    InvalidRequest
        Naming the types that are not allowed.
    ModelDamaged
        If it is not the archive that skops writes, or would unpack to more than it may.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            _check_entries(archive.infolist())
            schema = json.loads(archive.read(SCHEMA))
    except (zipfile.BadZipFile, zlib.error, KeyError, ValueError, EOFError, OSError) as error:
        raise ModelDamaged(f"The skops file is damaged: {error}") from error
    except (RecursionError, NotImplementedError, RuntimeError) as error:
        raise ModelDamaged(f"The skops file is not as skops writes it: {error}") from error
    types, refused = set(), set()
    for loader, name in _nodes(schema):
        if loader not in LOADERS:
            refused.add(f"{name} ({loader})")
        elif name not in _ALLOWED and not (loader == "FunctionNode" and name in _ALLOWED_FUNCTIONS):
            refused.add(name)
        types.add(name)
    if refused:
        shown = ", ".join(sorted(refused)[:MOST_ALLOWED_SHOWN])
        raise InvalidRequest(
            f"The skops file holds {shown}, which may do more than hold data; only scikit-learn's "
            "own transformers and estimators on the list in docs/models.md are loaded."
        )
    return types


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    names = [entry.filename for entry in entries]
    if len(names) > MOST_ENTRIES or len(set(names)) != len(names):
        raise ModelDamaged("The skops file has too many entries, or some twice.")
    for entry in entries:
        if not _ENTRY.fullmatch(entry.filename):
            raise ModelDamaged(f"The skops file holds {entry.filename[:100]!r}; skops does not.")
        if stat.S_ISLNK(entry.external_attr >> _LINK_BITS) or entry.flag_bits & 1:
            raise ModelDamaged(f"The entry {entry.filename} is a link, or encrypted.")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ModelDamaged(f"The entry {entry.filename} is packed in an unusual way.")
        if entry.filename == SCHEMA and entry.file_size > MOST_SCHEMA_BYTES:
            raise ModelDamaged(f"{SCHEMA} of the skops file has {entry.file_size:,} bytes.")
    total = sum(entry.file_size for entry in entries)
    if total > MOST_BYTES:
        raise ModelDamaged(
            f"The skops file unpacks to {total:,} bytes; at most {MOST_BYTES:,} are read."
        )


def _nodes(schema: Any) -> Iterator[tuple[str, str]]:
    """Yield the loader and the full name of every node, wherever it stands."""
    waiting = [schema]
    while waiting:
        found = waiting.pop()
        if isinstance(found, dict):
            if "__loader__" in found or "__class__" in found or "__module__" in found:
                name = f"{found.get('__module__')}.{found.get('__class__')}"
                yield str(found.get("__loader__")), name
            waiting += found.values()
        elif isinstance(found, list):
            waiting += found
