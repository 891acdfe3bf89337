# Reads engines.json: `engines` is the list of names; ENGINE_family, ENGINE_source, ENGINE_target and ENGINE_features
# (empty when it has none) are the fields of an engine. For every place that makes something for each engine.

set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/engines.json)
file(READ ${CMAKE_CURRENT_LIST_DIR}/engines.json table)
string(JSON count LENGTH "${table}" engines)
math(EXPR last "${count} - 1")
set(engines)
foreach(i RANGE ${last})
  string(JSON name GET "${table}" engines ${i} name)
  list(APPEND engines ${name})
  foreach(field family source target features)
    string(JSON ${name}_${field} ERROR_VARIABLE missing GET "${table}" engines ${i} ${field})
    if(missing)
      set(${name}_${field})
    endif()
  endforeach()
endforeach()
