"""The HTTP interface, in the form of Riak KV."""
