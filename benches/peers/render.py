def tables(r):
    import json
    return json.dumps(r["faults"])
