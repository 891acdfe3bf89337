"""Does an engine say what the reference says?"""
