"""Chat templates: what reaches Python is found however it is spelled; templates of real models are harmless."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelward.artifact.formats import fold, template
from modelward.artifact.formats.jinja import LONGEST, judge
from modelward.artifact.reading import Malformed, Reading


def level(text):
    into = Reading()
    judge(text, into, "the template")
    levels = {event.level for event in into.events}
    return next((name for name in ("dangerous", "unproven", "note") if name in levels), None)


def rules(text):
    into = Reading()
    judge(text, into, "the template")
    return {event.rule for event in into.events}


ATTACKS = {
    "attribute": "{{ ''.__class__ }}",
    "subscript": "{{ ''['__class__'] }}",
    "chain": "{{ cycler.__init__.__globals__.os.popen('id').read() }}",
    "joiner": "{{ joiner.__init__.__globals__ }}",
    "namespace": "{{ namespace.__init__.__globals__ }}",
    "lipsum": "{{ lipsum.__globals__['os'].system('id') }}",
    "tilde": "{{ ''['__cla'~'ss__'] }}",
    "plus": "{{ ''['__cla'+'ss__'] }}",
    "hex": r"{{ ''['\x5f\x5fclass\x5f\x5f'] }}",
    "unicode": r"{{ x['\u005f\u005fglobals__'] }}",
    "octal": r"{{ x['\137\137class\137\137'] }}",
    "adjacent": "{{ ''['__cla' 'ss__'] }}",
    "attr": "{{ ''|attr('__class__') }}",
    "attr built": "{{ ''|attr('__'+'class'+'__') }}",
    "attr of the request": "{{ ()|attr(request.args.x) }}",
    "join": "{{ ''[['__','class','__']|join] }}",
    "join with a mark": "{{ ''[['', 'class', '']|join('__')] }}",
    "join method": "{{ ''['__'.join(['', 'class', ''])] }}",
    "variable": "{% set a = ['__','class','__']|join %}{{ ''[a] }}",
    "two variables": "{% set a='__cla' %}{% set b='ss__' %}{{ ''[a~b] }}",
    "slice": "{{ ''['__ssalc__'[::-1]] }}",
    "reverse": "{{ ''['__ssalc__'|reverse] }}",
    "reversed and joined": "{{ ''['__ssalc__'|list|reverse|join] }}",
    "format": "{{ ()|attr('%c%cclass%c%c'|format(95,95,95,95)) }}",
    "percent": "{{ ''['%sclass%s' % ('__', '__')] }}",
    "braces": "{{ ''['{0}{0}class{0}{0}'.format('_')] }}",
    "format reads": "{{ '{0.__class__.__mro__}'.format(1) }}",
    "format_map reads": "{{ '{x.__class__}'.format_map({'x': 1}) }}",
    "lower": "{{ ''['__CLASS__'.lower()] }}",
    "lower filter": "{{ ''['__CLASS__'|lower] }}",
    "replace": "{{ ''['__cl+ass__'|replace('+','')] }}",
    "replace method": "{{ ''['..class..'.replace('.','_')] }}",
    "repeat": "{{ ''['_'*2+'class'+'_'*2] }}",
    "split": "{% for k in '__class__ __mro__'.split() %}{{ ''[k] }}{% endfor %}",
    "loop": "{% for k in ['__class__'] %}{{ ''[k] }}{% endfor %}",
    "loop over pairs": "{% for k, v in {'__class__': 1}.items() %}{{ ''[k] }}{% endfor %}",
    "block": "{% set x %}__class__{% endset %}{{ ''[x] }}",
    "block in pieces": "{% set x %}__{{ 'class' }}__{% endset %}{{ ''[x] }}",
    "raw block": "{% set x %}{% raw %}__class__{% endraw %}{% endset %}{{ ''[x] }}",
    "macro argument": "{% macro m(a,b) %}{{ a[b] }}{% endmacro %}{{ m('','__class__') }}",
    "macro keyword": "{% macro m(a,b) %}{{ a[b] }}{% endmacro %}{{ m('',b='__class__') }}",
    "macro default": "{% macro m(a, b='__class__') %}{{ a[b] }}{% endmacro %}{{ m('') }}",
    "macro result": "{% macro m() %}__class__{% endmacro %}{{ ''[m()] }}",
    "dict keys": "{{ ''[dict(__class__=1)|first] }}",
    "dict keys joined": "{{ ''[dict(__cla=1,ss__=2)|join] }}",
    "namespace value": "{% set ns=namespace(k='__class__') %}{{ ''[ns.k] }}",
    "namespace set": "{% set ns=namespace() %}{% set ns.k='__class__' %}{{ ''[ns.k] }}",
    "with": "{% with k='__class__' %}{{ ''[k] }}{% endwith %}",
    "characters": "{% set u=(()|select|string|list).pop(24) %}{{ ()|attr(u~u~'class'~u~u) }}",
    "unknown underscores": "{{ ''[u*2~'class'~u*2] }}",
    "conditional": "{{ ''['__class__' if true else 'x'] }}",
    "default filter": "{{ ''[missing|default('__class__')] }}",
    "map attr": "{{ ['']|map('attr','__class__')|list }}",
    "map attribute": "{{ ['']|map(attribute='__class__')|list }}",
    "map dotted": "{{ ['']|map(attribute='x.__class__')|list }}",
    "selectattr": "{{ ['']|selectattr('__class__')|list }}",
    "groupby": "{{ ['']|groupby('__class__') }}",
    "sort": "{{ ['']|sort(attribute='__class__') }}",
    "self": "{{ self._TemplateReference__context }}",
    "frame": "{{ x.gi_frame.f_globals }}",
    "traceback": "{{ x.tb_frame.f_back }}",
    "mro": "{{ ''.mro() }}",
    "popen": "{{ os.popen('id') }}",
    "system by name": "{{ x['system']('id') }}",
    "eval": "{{ eval('1') }}",
    "open": "{{ open('/etc/passwd').read() }}",
    "condition": "{% if ''.__class__ %}{% endif %}",
    "assignment": "{% set x = ''.__class__ %}",
    "do": "{% do ''.__class__ %}",
    "call block": "{% call ''.__class__.x() %}{% endcall %}",
    "filter block": "{% filter attr('__class__') %}x{% endfilter %}",
    "test argument": "{{ 1 is sameas(''.__class__) }}",
    "keyword argument": "{{ f(x=''.__class__) }}",
    "in a list": "{{ [1, {'a': ''.__class__}] }}",
    "behind a chat": "{% for m in messages %}{{ m.content }}{% endfor %}{{ ''.__class__ }}",
    "file": "{% include '/etc/passwd' %}",
    "file out of the folder": "{% import '../../x' as y %}",
    "no template": "{{ ''.__class__ ",
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_is_dangerous(name):
    assert level(ATTACKS[name]) == "dangerous"


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("{% for i in range(10**9) %}{% endfor %}", "jinja.bomb"),
        (
            "{% for i in range(9999) %}{% for j in range(9999) %}x{% endfor %}{% endfor %}",
            "jinja.bomb",
        ),
        ("{{ 'a' * 10**10 }}", "jinja.bomb"),
        ("{{ [0] * 99999999999 }}", "jinja.bomb"),
        ("{{ 2 ** 99999999 }}", "jinja.bomb"),
        ("{{ 'a'.center(99999999999) }}", "jinja.bomb"),
        ("{% include 'other.jinja' %}", "jinja.file"),
        ("{% extends name %}", "jinja.file"),
        ("{% frobnicate x %}", "jinja.tag"),
        ("{{ x._y }}", "jinja.private"),
        ("{{ x['a' ~ y] }}", "jinja.computed-name"),
        ("{{ ) }}", "jinja.syntax"),
        ("{{ 'x }}", "jinja.syntax"),
        ("{# no end", "jinja.syntax"),
        ("x" * (LONGEST + 1), "jinja.syntax"),
    ],
)
def test_what_is_not_understood_is_unproven(text, rule):
    assert level(text) == "unproven"
    assert rule in rules(text)


CHATML = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' "
    "+ '\n'}}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LLAMA2 = (
    "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}"
    "{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}"
    "{% set system_message = false %}{% endif %}{% for message in loop_messages %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}"
    "{% if loop.index0 == 0 and system_message != false %}"
    "{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}"
    "{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}"
    "{{ ' '  + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}"
)
TOOLS = """{%- macro json_to_python_type(json_spec) %}
{%- set basic_type_map = {"string": "str", "number": "float", "integer": "int", "boolean": "bool"} %}
{%- if basic_type_map[json_spec.type] is defined %}{{- basic_type_map[json_spec.type] }}
{%- elif json_spec.type == "array" %}{{- "list[" + json_to_python_type(json_spec|items) + "]" }}
{%- elif json_spec.type is iterable %}
{%- for t in json_spec.type %}{{- json_to_python_type({"type": t}) }}{%- if not loop.last %}{{- "," }}{% endif %}
{%- endfor %}{%- else %}{{- "Any" }}{%- endif %}
{%- endmacro %}
{%- set ns = namespace(multi_step_tool=true, last_query_index=messages|length - 1, found='') %}
{%- for message in messages[::-1] %}
  {%- set index = (messages|length - 1) - loop.index0 %}
  {%- if ns.multi_step_tool and message.role == "user" and message.content is string
      and not(message.content.startswith('<tool_response>') and message.content.endswith('</tool_response>')) %}
    {%- set ns.multi_step_tool = false %}{%- set ns.last_query_index = index %}
  {%- endif %}
{%- endfor %}
{%- for tool in tools | selectattr('type', 'equalto', 'function') | map(attribute='function') | list %}
  {{- tool | tojson(indent=4) }}
  {%- for param_name, param_fields in tool.parameters.properties | dictsort %}
    {%- for json_key in param_fields.keys() | reject("in", ["type", "description"]) %}
      {%- set normed = json_key | replace("-", "_") | replace(" ", "_") | replace("$", "") %}
      {%- if param_fields[json_key] is mapping %}{{- '\\n<' ~ normed ~ '>' ~ (param_fields[json_key] | tojson) }}
      {%- else %}{{ param_fields[json_key] | string }}{%- endif %}
    {%- endfor %}
  {%- endfor %}
{%- endfor %}
{% generation %}{{ messages[-1]['content'].split('</think>')[-1].lstrip('\\n') | trim }}{% endgeneration %}
{%- set date_string = strftime_now("%d %b %Y") if strftime_now is defined else "26 Jul 2024" %}
{%- for k, v in tool_call.arguments.items() %}{{ k ~ ': ' ~ v }}{% if loop.last %}{% break %}{% endif %}{% endfor %}
{%- set args = tool_call.arguments if tool_call.arguments is not string else tool_call.arguments | fromjson %}
{%- if messages[0].role in ['system', 'developer'] and messages[0]['tool_calls'] is none %}{% endif %}
{%- if thinking is not defined %}{% set thinking = false %}{% endif %}
{{- {'a': 1}['a'] }}{{ messages[loop.index0 + 1].content[:-1] }}{{ 3.5e2 // 2 ** 2 % 7 }}{{ 'x' if a else 'y' if b }}
{#- a comment with __class__ -#} the text __class__ is only text {{ "<|__x__|>" }}
"""
BENIGN = {"chatml": CHATML, "llama2": LLAMA2, "tools": TOOLS, "text": "Hello, __class__!", "empty": ""}


@pytest.mark.parametrize("name", BENIGN)
def test_templates_as_models_have_them_are_harmless(name):
    assert level(BENIGN[name]) is None, rules(BENIGN[name])


@pytest.mark.parametrize("name", sorted(set(BENIGN) - {"empty"}))
def test_jinja_reads_the_same_templates(name):
    """The fixtures are templates for Jinja itself, so that what is proven is not a reading of our own."""
    jinja2 = pytest.importorskip("jinja2")
    pytest.importorskip("jinja2.ext")

    class Generation(jinja2.ext.Extension):
        tags = {"generation"}  # noqa: RUF012 - the interface of Jinja

        def parse(self, parser):
            line = next(parser.stream).lineno
            body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
            return jinja2.nodes.Scope(body).set_lineno(line)

    extensions = [Generation, "jinja2.ext.loopcontrols"]
    jinja2.Environment(extensions=extensions, autoescape=True).parse(BENIGN[name])


CONSTANTS = [
    "'a' ~ 'b'", "'a' + 'b'", "'ab' * 3", "'abc'[::-1]", "'abc'[1:]", "'abc'[1]", "'abc'|reverse", "'aBc'|upper",
    "'aBc'|lower", "'abc'|replace('b','x')", "['a','b']|join('-')", "'-'.join(['a','b'])", "'%s-%s'|format('a','b')",
    "'%c'|format(95)", "'%s' % 'a'", "'{}{}'.format('a','b')", "'{1}{0}'.format('a','b')", "' a '|trim",
    "'a b'.split()[1]", "['a','b']|last", "['a','b'][0]", "('a','b')|first", "'abc'|list|join('_')", "'aB'|capitalize",
    r"'\x61\u0062\n'", "'a' 'b'", "'ab'|title", "dict(a=1,b=2)|join", "'x'.strip('x') ~ 'y'", "'aB'.swapcase()",
    "2 ** 3 ~ ''", "(1 + 2) ~ ''", "('a' if true else 'a') ~ ''", "'a,b'.split(',')|join", "-3 ~ ''",
]  # fmt: skip


@pytest.mark.parametrize("text", CONSTANTS)
def test_constants_fold_to_what_jinja_renders(text):
    jinja2 = pytest.importorskip("jinja2")
    expected = jinja2.Environment(autoescape=False).from_string("{{ " + text + " }}").render()
    into = Reading()
    tags = template.parse("{{ " + text + " }}", into)
    value = fold.Values(into, tags).of(tags[0].exprs[0])
    assert expected in value.strings()


def test_positions_and_names_are_reported():
    into = Reading()
    judge("abc {{ x.__class__ }}", into, "tokenizer.chat_template")
    (event,) = into.events
    assert event.pos == 9
    assert event.message.startswith("tokenizer.chat_template: ")
    assert "__class__" in event.message


def test_the_call_is_shown():
    into = Reading()
    judge("{{ os.popen('id') }}", into, "t")
    assert "popen(...)" in {event.call for event in into.events}


@pytest.mark.parametrize("depth", [30, 5000])
def test_deep_nesting_ends(depth):
    assert level("{{ " + "(" * depth + "1" + ")" * depth + " }}") in {None, "unproven"}
    assert level("{{ x" + "[0]" * depth + " }}") in {None, "unproven"}
    assert level("{{ x" + "|e" * depth + " }}") in {None, "unproven"}
    assert level("{{ " + "not " * depth + "1 }}") in {None, "unproven"}
    assert level("{{ 1" + " if 1 else 1" * depth + " }}") in {None, "unproven"}


def test_long_chains_of_operators_are_read():
    assert level("{{ 'a'" + " ~ x" * 2000 + " }}") is None
    assert level("{% set a = '' %}" + "{% set a = a ~ 'x' %}" * 500 + "{{ a }}") is None


def test_exponential_unions_stay_bounded():
    text = "".join(f"{{% set a{i} = a{i - 1} ~ 'x' if c else a{i - 1} ~ 'y' %}}" for i in range(1, 60))
    assert level("{% set a0 = '' %}" + text + "{{ z[a59] }}") == "unproven"


PIECES = [
    "{{", "}}", "{%", "%}", "{#", "#}", "-", " ", "x", "'", '"', "__class__", "[", "]", "(", ")", "|", "attr", "~", "+",
    "if", "else", "for", "in", "set", "=", ".", ",", ":", "1", "endfor", "macro", "not", "is", "*", "\\x5f", "{", "}",
]  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=40))
def test_any_sequence_of_pieces_is_judged(pieces):
    level(" ".join(pieces))
    level("".join(pieces))


@settings(max_examples=150, deadline=None)
@given(st.text(max_size=60))
def test_any_text_inside_tags_is_judged(text):
    level("{{" + text + "}}")
    level("{%" + text + "%}")


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(TOOLS)))
def test_a_truncated_template_is_harmless_or_unproven(end):
    assert level(TOOLS[:end]) in {None, "unproven", "dangerous"}
    with_attack = TOOLS[:end] + "{{ ''.__class__ }}"
    assert level(with_attack) is not None or "{#" in TOOLS[:end] or "raw" in TOOLS[:end]


def test_the_parser_raises_malformed_alone():
    with pytest.raises(Malformed, match="token"):
        template.parse("{{ ? }}", Reading())
    with pytest.raises(Malformed, match="ends early"):
        template.parse("{{ }}", Reading())
    with pytest.raises(Malformed, match="more than it can mean"):
        template.parse("{{ a b }}", Reading())


# --- names that flow by the ways of macros, loops and tables ------------------------------------------------

FLOWS = {
    "keywords of a table": "{{ [lipsum]|map(**{'attribute':'__globals__'})|first }}",
    "a table made": "{% set a={'attribute':'__glo'~'bals__'} %}{{ [lipsum]|map(**a)|first }}",
    "a block with a filter": "{% set k|replace('x','_') %}xxglobalsxx{% endset %}{{ lipsum[k] }}",
    "a block with two filters": "{% set k|upper|lower %}__globals__{% endset %}{{ ''[k] }}",
    "names of arguments": "{% macro m() %}{{ kwargs|join }}{% endmacro %}{{ ''[m(__cla=1,ss__=2)] }}",
    "a name among arguments": "{% macro m() %}{% for k in kwargs %}{{ ''[k] }}{% endfor %}{% endmacro %}{{ m(__class__=1) }}",
    "the text of a call": "{% macro m() %}{{ ''[caller()] }}{% endmacro %}{% call m() %}__class__{% endcall %}",
    "the name of a macro": "{% macro __class__() %}{% endmacro %}{{ ''[__class__.name] }}",
    "a parameter of a macro": "{% macro m(__class__) %}{% endmacro %}{{ ''[m.arguments[0]] }}",
    "joiner": "{% set j=joiner('__class__') %}{{ j() }}{{ ''[j()] }}",
    "the item before": "{% for i in ['__cla'~'ss__',1] %}{{ ''[loop.previtem] }}{% endfor %}",
    "the next item": "{% for i in [1,'__cla'~'ss__'] %}{{ ''[loop.nextitem] }}{% endfor %}",
    "setdefault": "{% set d={} %}{% set _=d.setdefault('a','__cla'~'ss__') %}{{ ''[d.a] }}",
    "a function and the caller's text": "{{ lipsum[messages[0]['content']] }}",
    "a function and a token": "{{ cycler[bos_token] }}",
    "a macro's own": "{% macro m() %}{% endmacro %}{{ m[x] }}",
    "characters of a function": "{{ lipsum[(lipsum|string)[0]] }}",
    "an unknown attribute": "{{ [lipsum]|map(attribute=messages[0].role)|first }}",
    "escapes decoded": r"{{ lipsum['\\x5f\\x5fglobals\\x5f\\x5f'.encode().decode('unicode_escape')] }}",
    "characters exchanged": "{{ ''['..globals..'.translate({46:95})] }}",
    "format by attr": "{{ ('{0.__class__}'|attr('format'))(1) }}",
    "format by subscript": "{{ '{0.__class__}'['format'](1) }}",
    "format in a variable": "{% set f='{0.__class__}'.format %}{{ f(1) }}",
    "format with made braces": "{% set o=(dict(x=1)|string)[0] %}{{ (o~'0.__class__'~c).format(1) }}",
}


@pytest.mark.parametrize("name", FLOWS)
def test_a_name_is_found_whatever_way_it_takes(name):
    assert level(FLOWS[name]) == "dangerous"


@pytest.mark.parametrize(
    "name",
    [
        "keywords of a table", "a table made", "a block with a filter", "joiner", "the item before", "the next item",
        "names of arguments", "a name among arguments", "the text of a call", "the name of a macro",
        "a parameter of a macro", "format by subscript", "format in a variable", "format by attr", "setdefault",
    ],
)  # fmt: skip
def test_jinja_really_goes_that_way(name):
    """Without a sandbox the template reaches a class or a table of globals; so it is an attack, not an oddity."""
    jinja2 = pytest.importorskip("jinja2")
    shown = jinja2.Environment(autoescape=False).from_string(FLOWS[name]).render()
    assert "class" in shown or "__name__" in shown


@pytest.mark.parametrize(
    "text",
    [
        "{% for m in messages %}{{ m[loop.index0 % 2] }}{{ loop.previtem.role }}{{ messages[loop.index0 - 1] }}{% endfor %}",
        "{% set ns = namespace(found=false) %}{{ ns.found }}{{ messages|map(attribute='role')|join(',') }}",
        "{% macro m(name) %}{{ kwargs.x }}{{ caller() }}{% endmacro %}{% call m('a') %}text{% endcall %}",
        "{{ '{}: {}'.format(messages[0].role, messages[0].content) }}{{ '__media_0__' }}{{ '<|__start__|>' }}",
        "{% set text|trim %} {{ messages[0].content }} {% endset %}{{ text.split('\\n')[0] }}",
        "{% set d = {'user': 'USER', 'system': 'SYSTEM'} %}{{ d[messages[0].role] }}{{ d.setdefault('x', 'y') }}",
    ],
)  # fmt: skip
def test_the_same_means_used_as_templates_use_them_are_harmless(text):
    assert level(text) is None, rules(text)
