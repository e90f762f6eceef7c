from urllib.parse import quote, quote_plus

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from dynamo.http.render import location
from dynamo.http.routes import Resource, Style, Target, decode, resolve

OLD, BUCKETS, TYPES = Style.OLD, Style.BUCKETS, Style.TYPES


@pytest.mark.parametrize(
    ("path", "resource", "target"),
    [
        ("/", Resource.ROOT, Target()),
        ("", Resource.ROOT, Target()),
        ("/ping", Resource.PING, Target()),
        ("//ping//", Resource.PING, Target()),
        ("/stats", Resource.STATS, Target()),
        ("/buckets", Resource.BUCKETS, Target()),
        ("/riak", Resource.BUCKETS, Target(OLD)),
        ("/types/t/buckets", Resource.BUCKETS, Target(TYPES, b"t")),
        ("/buckets/b/keys", Resource.KEYS, Target(bucket=b"b")),
        ("/types/t/buckets/b/keys/", Resource.KEYS, Target(TYPES, b"t", b"b")),
        ("/buckets/b/props", Resource.BUCKET_PROPERTIES, Target(bucket=b"b")),
        ("/types/t/buckets/b/props", Resource.BUCKET_PROPERTIES, Target(TYPES, b"t", b"b")),
        ("/types/t/props", Resource.TYPE_PROPERTIES, Target(TYPES, b"t")),
        ("/riak/b", Resource.OLD_BUCKET, Target(OLD, bucket=b"b")),
        ("/riak/b/k", Resource.OBJECT, Target(OLD, bucket=b"b", key=b"k")),
        ("/buckets/b/keys/k", Resource.OBJECT, Target(bucket=b"b", key=b"k")),
        ("/buckets//b/keys//k", Resource.OBJECT, Target(bucket=b"b", key=b"k")),
        ("/types/t/buckets/b/keys/k", Resource.OBJECT, Target(TYPES, b"t", b"b", b"k")),
        ("/buckets/keys/keys/keys", Resource.OBJECT, Target(bucket=b"keys", key=b"keys")),
        ("/buckets/b/keys/k/preflist", Resource.PREFLIST, Target(bucket=b"b", key=b"k")),
        ("/types/t/buckets/b/keys/k/preflist/", Resource.PREFLIST, Target(TYPES, b"t", b"b", b"k")),
        ("/buckets/b/keys/preflist", Resource.OBJECT, Target(bucket=b"b", key=b"preflist")),
        ("/buckets/a%2Fb/keys/c%2fd", Resource.OBJECT, Target(bucket=b"a/b", key=b"c/d")),
        ("/buckets/b/keys/a+b%20c", Resource.OBJECT, Target(bucket=b"b", key=b"a b c")),
        ("/buckets/b/keys/a%zz%4", Resource.OBJECT, Target(bucket=b"b", key=b"a%zz%4")),
        ("/buckets/b/keys/%ff%00", Resource.OBJECT, Target(bucket=b"b", key=b"\xff\0")),
        ("/buckets/b/keys/..", Resource.OBJECT, Target(bucket=b"b", key=b"..")),
        ("http://host:1/ping", Resource.PING, Target()),
        ("HTTPS://host/buckets/b/keys/k", Resource.OBJECT, Target(bucket=b"b", key=b"k")),
        ("/admin/members", Resource.ADMIN_MEMBERS, Target()),
        ("/admin/ring", Resource.ADMIN_RING, Target()),
        ("/admin/divergence", Resource.ADMIN_DIVERGENCE, Target()),
        ("/admin/tombstones", Resource.ADMIN_TOMBSTONES, Target()),
        ("/admin/bucket-types", Resource.ADMIN_BUCKET_TYPES, Target()),
        ("/admin/bucket-types/t%2F", Resource.ADMIN_BUCKET_TYPE, Target(TYPES, b"t/")),
        (
            "/admin/bucket-types/t/activate",
            Resource.ADMIN_BUCKET_TYPE_ACTIVATE,
            Target(TYPES, b"t"),
        ),
        ("/admin/hints", Resource.ADMIN_HINTS, Target()),
        ("/admin/hints/wait", Resource.ADMIN_HINTS_WAIT, Target()),
        ("/admin/locate/b/k", Resource.ADMIN_LOCATE, Target(bucket=b"b", key=b"k")),
        ("/admin/local/t/b/k", Resource.ADMIN_LOCAL, Target(TYPES, b"t", b"b", b"k")),
        (
            "/admin/local/buckets/b/keys/k",
            Resource.ADMIN_LOCAL,
            Target(bucket=b"b", key=b"k"),
        ),
        (
            "/admin/locate/types/t/buckets/b/keys/k",
            Resource.ADMIN_LOCATE,
            Target(TYPES, b"t", b"b", b"k"),
        ),
    ],
)
def test_a_path_names_a_resource(path: str, resource: Resource, target: Target) -> None:
    assert resolve(path) == (resource, target)


@pytest.mark.parametrize(
    "path",
    [
        "/nosuch",
        "*",
        "/buckets/b",
        "/buckets/b/keys/k/more",
        "/buckets/b/nosuch",
        "/buckets//keys/k",
        "/riak/b/k/more",
        "/types",
        "/types/t",
        "/types/t/nosuch",
        "/types/t/buckets/b",
        "/types/t/buckets/b/nosuch",
        "/types/t/buckets/b/keys/k/more",
        "/admin",
        "/admin/nosuch",
        "/admin/members/n1/more",
        "/admin/locate",
        "/admin/locate/b",
        "/admin/nosuch/b/k",
        "/admin/local/a/b/c/d",
        "/%70ing",
        "ftp://host/ping",
    ],
)
def test_other_paths_name_nothing(path: str) -> None:
    assert resolve(path) is None


_NAMES = st.binary(min_size=1, max_size=12)


@given(bucket_type=_NAMES, bucket=_NAMES, key=_NAMES, style=st.sampled_from(Style))
@example(bucket_type=b"t", bucket=b"/", key=b"+%2F ", style=TYPES)
def test_a_location_leads_back_to_its_target(
    bucket_type: bytes, bucket: bytes, key: bytes, style: Style
) -> None:
    if style is not TYPES:
        bucket_type = b"default"
    target = Target(style, bucket_type, bucket, key)
    assert resolve(location(target)) == (Resource.OBJECT, target)


@given(name=st.binary(max_size=30))
def test_every_way_of_quoting_a_name_is_understood(name: bytes) -> None:
    assert decode(quote(name, safe="")) == name
    assert decode(quote_plus(name)) == name
    assert decode("".join(f"%{byte:02x}" for byte in name)) == name


@given(path=st.text(max_size=40))
def test_any_path_is_resolved_or_not(path: str) -> None:
    try:
        path.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return
    resolve(path)
