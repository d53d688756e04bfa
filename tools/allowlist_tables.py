"""What a person decided about the libraries of tables, series, texts and sciences; `allowlist_reviewed.py` takes it in.

The methods named here were read in the releases that `allowlist.json` states. Most objects of these libraries are given
their state by the default mechanism, so that what is left to decide is who else listens while an instance is made.

Left out on purpose: `sklearn_crfsuite.FileResource` (its `__del__` deletes the file that it names, so no CRF of that
library is inert), `lmfit.Parameters` (evaluates expressions), `spacy.Doc` (gives hooks of an inner pickle to
`dict.update`), settings of tsfresh (their keys are pickles inside), `regex` patterns (native code of the file), `mne.Info` (its checks of items call methods of the items),
sympy and astropy (every class has a `__new__` that computes).
"""

from __future__ import annotations

from typing import Any

Fields = dict[str, Any]

LIBRARIES: tuple[str, ...] = (
    "Bio", "PIL", "arch", "boruta", "cmdstanpy", "coreforecast", "darts", "dask_ml", "deap", "econml", "formulaic", "gplearn", "hmmlearn", "interpret",
    "kmodes", "langchain_community", "langchain_core", "mapie", "mlforecast", "ngboost", "optbinning", "pgmpy", "pycaret", "pycrfsuite", "rank_bm25",
    "shap", "sktime", "skbase", "sklearn_pandas", "slicer", "spacy", "sparse", "statsforecast", "textblob", "thinc", "tsfresh", "tslearn", "utilsforecast",
    "stanio", "vaderSentiment", "xarray", "pynndescent", "confection",
)  # fmt: skip
VALUES: tuple[str, ...] = ()

SETSTATE: dict[str, str] = {
    # reportviews.py, coreviews.py: read; store what they are given, or the attribute items of state["_adjdict"]
    **{f"networkx.classes.reportviews.{name}": "fields" for name in ("NodeView", "NodeDataView", "InEdgeView", "InMultiEdgeView")},
    **{f"networkx.classes.coreviews.Union{name}": "fields" for name in ("Atlas", "Adjacency")},
    "nltk.tokenize.punkt.PunktLanguageVars": "plain",  # punkt.py: read; does nothing with the number it writes
    "implicit.nearest_neighbours.ItemItemRecommender": "similarity",  # nearest_neighbours.py: read; a native scorer of a sparse matrix
    "scipy.interpolate._rbfinterp.RBFInterpolator": "data",  # _rbfinterp.py: read; stores arrays, looks for their kind
    "PIL.Image.Image": "data",  # Image.py: read; the native raw decoder of bytes
    "sparse.numba_backend._coo.core.COO": "data",  # _coo/core.py: read; stores four values
    "ngboost.ngboost.NGBoost": "boosted",  # ngboost.py: read; derives a class from two classes of its own
    "ngboost.api.NGBRegressor": "boosted",  # api.py: read; may call uncensor of its distribution
    "pydantic.main.BaseModel": "pydantic",  # main.py, 2.14: read; object.__setattr__ of four names
}  # fmt: skip

READ_HOOKS: set[tuple[str, str]] = {
    *(("__getattr__", f"cmdstanpy:CmdStan{name}") for name in ("MLE", "MCMC", "GQ", "VB", "Laplace", "Pathfinder")),  # AttributeError for a name with _
    ("__getattr__", "formulaic:Structured"), ("__setattr__", "formulaic:Structured"),  # AttributeError, or plain, for a name with _
    ("__getattr__", "formulaic:LayeredMapping"),  # looks among its layers, of which it has none yet
    ("__new__", "formulaic:Variable"),  # str.__new__, a set of roles
    ("__getattr__", "slicer:Slicer"),  # AttributeError for a name with _
    ("__getattr__", "xarray:AttrAccessMixin"), ("__setattr__", "xarray:AttrAccessMixin"),  # AttributeError for __setstate__; object.__setattr__
    ("__getattr__", "pydantic:BaseModel"), ("__setattr__", "pydantic:BaseModel"),  # not asked: it has a __setstate__
    ("__getattr__", "econml:SingleModelSelector"), ("__getattr__", "econml:_PairedEstimatorWrapper"),  # AttributeError but for a few names
    ("__new__", "Bio:ExactPosition"),  # int.__new__
}  # fmt: skip
ATTRIBUTES: set[str] = {"formulaic:Structured", "xarray:AttrAccessMixin"}
"""Classes whose `__setattr__` stores a name that begins with _ as every object does: such slots may be set."""

ENUMS: set[str] = set()
ITEMS: set[str] = set()
OUTPUTS: set[str] = set()

_WALKED = "list|tuple|str|bytes|dict|#builtins.range|#builtins.iter|#builtins.map|#builtins.filter|#builtins.zip|#builtins.enumerate|#builtins.reversed*"
_TREE: Fields = {"kind": "class", "state": "kdtree"}
"""scipy/spatial/_ckdtree.pyx: read; follows the places that its nodes state, which are checked."""

LEXICAL = ("lower", "prefix", "suffix", "is_alpha", "is_digit", "is_lower", "is_space", "is_title", "is_upper", "is_stop", "like_email", "like_num", "is_punct",
           "is_ascii", "word_shape", "is_bracket", "is_quote", "is_left_punct", "is_right_punct", "is_currency", "like_url", "get_lang", "is_oov", "get_prob", "cluster")  # fmt: skip
"""spacy/lang/lex_attrs.py: functions of text."""
SPOKEN = (
    "af am ar az bn bo ca cs da de dsb el en es et eu fa fi fr ga grc he hi hr hsb hu hy id is it ja kmr kn ko ky "
    "la lb lt lv mk ml mr ms nb ne nl pl pt ro ru sa sk sl sq sr sv ta te th ti tl tn tr tt uk ur vi xx yo zh"
)
"""Languages of spaCy whose lexical functions and noun chunks may be referred to."""

FUNCTIONS: dict[str, Fields] = {
    **{f"spacy.lang.lex_attrs:{name}": {"kind": "value"} for name in LEXICAL},
    **{f"spacy.lang.{code}.lex_attrs:like_num": {"kind": "value"} for code in SPOKEN.split()},
    **{f"spacy.lang.{code}.syntax_iterators:noun_chunks": {"kind": "value"} for code in SPOKEN.split()},
    "spacy.util:_get_attr_unless_lookup": {"kind": "value"},
    # enumerations inside classes of formulaic, with the _missing_ of every enumeration
    **{
        f"formulaic.parser.types.{name}": {"kind": "enum", "call": [["const"]]}
        for name in ("factor:Factor.EvalMethod", "factor:Factor.Kind", "token:Token.Kind")
    },
    "numba.core.registry:CPUDispatcher": {"kind": "value"},  # named in the pickles of compiled functions, which stay unproven
    # walked by whoever uses them, which loading never does: see schema.CALLABLE_TAGS
    "builtins.map": {"kind": "class", "call": [["pure|value|class|function", _WALKED]]},
    "builtins.filter": {"kind": "class", "call": [["none|pure|value|class|function", _WALKED.removesuffix("*")]]},
    "builtins.memoryview": {"kind": "value"},
    # lifelines/fitters: read; methods that a fitter keeps as attributes; no property, and nothing hooks the look-up
    **{
        f"lifelines.fitters.nelson_aalen_fitter:NelsonAalenFitter._{name}": {"kind": "value"}
        for name in ("variance_f_smooth", "variance_f_discrete", "additive_f_smooth", "additive_f_discrete")
    },
    **{
        f"lifelines.fitters.{name}:{kind}.plot": {"kind": "value"}
        for name, kind in (
            ("nelson_aalen_fitter", "NelsonAalenFitter"), ("breslow_fleming_harrington_fitter", "BreslowFlemingHarringtonFitter"),
            ("kaplan_meier_fitter", "KaplanMeierFitter"),
        )
    },
    "numpy.matrixlib.defmatrix.matrix": {"kind": "class", "state": "ndarray"},  # numpy.matrix before 1.25
    **dict.fromkeys(("scipy.spatial._ckdtree.cKDTree", "scipy.spatial._kdtree.KDTree", "scipy.spatial.ckdtree.cKDTree", "scipy.spatial.kdtree.KDTree"), _TREE),
    # tools.py: a dictionary that __init__ makes its own __dict__, so that its state is itself
    "statsmodels.tools.tools.Bunch": {"kind": "class", "state": "itself", "items": "dict:attributes"},
    # spaCy: strings are hashed, vectors and features are parsed; a vocabulary keeps functions from a pickle inside
    "spacy.strings.StringStore": {"kind": "class", "call": [["plain?"]]},
    "spacy.vectors.unpickle_vectors": {"call": [["bytes"]], "returns": "spacy.vectors.Vectors"},
    "spacy.morphology.unpickle_morphology": {"call": [["#spacy.strings.StringStore", "plain"]], "returns": "spacy.morphology.Morphology"},
    "spacy.vocab.unpickle_vocab": {"kind": "function"},  # special.py
    "spacy.tokens.doc.unpickle_doc": {"kind": "function"},  # special.py
    # native code of the file: unproven, whatever it is given
    "regex._regex.compile": {"call": [["none"]]},
    # well-known bytes to native parsers
    "rdkit.Chem.rdchem:Mol": {"kind": "class", "call": [["bytes"]]},
    "rdkit.Chem.rdChemReactions:ChemicalReaction": {"kind": "class", "call": [["bytes"]]},
    "rdkit.DataStructs.cDataStructs:ExplicitBitVect": {"kind": "class", "call": [["bytes"]]},
    "rdkit.DataStructs.cDataStructs:SparseBitVect": {"kind": "class", "call": [["bytes"]]},
}  # fmt: skip

CLASSES: dict[str, Fields] = {
    "deap.tools.support.Logbook": {"call": [[]]},  # support.py: read; an empty list with empty chapters
    "sklearn._loss._loss.CyLossFunction": {"state": "none"},  # releases differ in how it is given a state
    "formulaic.utils.variables.Variable": {"new": [["str"]]},
    "Bio.SeqFeature.ExactPosition": {"new": [["int", "int?"]]},
}
