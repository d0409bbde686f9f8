"""stub until generator lands."""
def openapi_json() -> bytes:
    return b"{}"
