//! A planner support function for sets of rows: conditions of the query become arguments of the
//! function.
//!
//! A function that a view stands on returns its rows before any condition is judged. A condition
//! such as `message_id = 5` can be judged by its query instead, which may have an index for it. What
//! reaches the function here is what the planner has pushed below the view's barrier; it is still
//! judged above the function, too.

use pgrx::datum::Internal;
use pgrx::{is_a, pg_sys};

/// How a column is compared with a value.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    /// At least the value, or more.
    From,
    /// At most the value, or less.
    To,
}

/// An argument of the function, NULL in the view, that takes a condition's value.
pub struct Condition {
    /// Number of the column, from 1.
    pub column: i16,
    pub comparison: Comparison,
    /// The type of the column and of the argument.
    pub of: pg_sys::Oid,
    /// Position of the argument, from 0.
    pub argument: usize,
}

/// What the support function answers to a request of the planner: the call of the function with
/// arguments in place of its NULLs, or nothing (`SupportRequestSimplify` in PostgreSQL's
/// nodes/supportnodes.h).
pub fn take_conditions(request: Internal, conditions: &[Condition]) -> Internal {
    let request = request.unwrap().map(|datum| datum.cast_mut_ptr());
    // SAFETY: the planner calls with a node, and what it points to is as its tag says.
    let call = request.and_then(|request| unsafe { simplified(request, conditions) });
    // A null pointer, but not NULL, is the answer to a request that the function does not take.
    let call = call.unwrap_or(std::ptr::null_mut());
    Internal::from(Some(pg_sys::Datum::from(call)))
}

/// # Safety
/// `request` is a node.
unsafe fn simplified(
    request: *mut pg_sys::Node,
    conditions: &[Condition],
) -> Option<*mut pg_sys::FuncExpr> {
    // SAFETY: nodes are what their tags say; the call is a copy that belongs to the planner.
    unsafe {
        if !is_a(request, pg_sys::NodeTag::T_SupportRequestSimplify) {
            return None;
        }
        let request = &*request.cast::<pg_sys::SupportRequestSimplify>();
        let query = request.root.as_ref()?.parse.as_ref()?;
        let index = range_table_index(query, (*request.fcall).funcid)?;
        let call: *mut pg_sys::FuncExpr = pg_sys::copyObjectImpl(request.fcall.cast()).cast();
        let arguments = elements::<pg_sys::Node>((*call).args);
        let mut taken = false;
        for_each_conjunct((*query.jointree).quals, &mut |conjunct| {
            for condition in conditions {
                let free = arguments
                    .get(condition.argument)
                    .is_some_and(|node| is_null(*node));
                if let Some(value) = value_of(conjunct, index, condition).filter(|_| free) {
                    arguments[condition.argument] = value;
                    taken = true;
                }
            }
        });
        taken.then_some(call)
    }
}

/// Where the query has the rows of the function, from 1.
unsafe fn range_table_index(query: &pg_sys::Query, function: pg_sys::Oid) -> Option<i32> {
    // SAFETY: as for `simplified`.
    unsafe {
        let entries = elements::<pg_sys::RangeTblEntry>(query.rtable);
        let is_it = |entry: &*mut pg_sys::RangeTblEntry| {
            let entry = *entry;
            let functions = elements::<pg_sys::RangeTblFunction>((*entry).functions);
            (*entry).rtekind == pg_sys::RTEKind::RTE_FUNCTION
                && functions.iter().any(|of| {
                    let of = *of;
                    is_a((*of).funcexpr, pg_sys::NodeTag::T_FuncExpr)
                        && (*(*of).funcexpr.cast::<pg_sys::FuncExpr>()).funcid == function
                })
        };
        let index = entries.iter().position(is_it)?;
        i32::try_from(index + 1).ok()
    }
}

/// Calls for each condition that all rows must meet.
unsafe fn for_each_conjunct(node: *mut pg_sys::Node, act: &mut impl FnMut(*mut pg_sys::Node)) {
    // SAFETY: as for `simplified`.
    unsafe {
        if node.is_null() {
            return;
        }
        let parts = match (*node).type_ {
            pg_sys::NodeTag::T_List => node.cast(),
            pg_sys::NodeTag::T_BoolExpr
                if (*node.cast::<pg_sys::BoolExpr>()).boolop == pg_sys::BoolExprType::AND_EXPR =>
            {
                (*node.cast::<pg_sys::BoolExpr>()).args
            }
            _ => return act(node),
        };
        for part in elements(parts) {
            for_each_conjunct(*part, act);
        }
    }
}

/// What the column is compared with by this expression, as a value of the column's type.
unsafe fn value_of(
    node: *mut pg_sys::Node,
    index: i32,
    condition: &Condition,
) -> Option<*mut pg_sys::Node> {
    // SAFETY: as for `simplified`.
    unsafe {
        if !is_a(node, pg_sys::NodeTag::T_OpExpr) {
            return None;
        }
        let comparison = &*node.cast::<pg_sys::OpExpr>();
        let [left, right] = *elements::<pg_sys::Node>(comparison.args) else {
            return None;
        };
        let (operator, value) = if is_column(left, index, condition.column) {
            (comparison.opno, right)
        } else if is_column(right, index, condition.column) {
            (pg_sys::get_commutator(comparison.opno), left)
        } else {
            return None;
        };
        if meaning(operator, condition.of)? != condition.comparison
            || pg_sys::contain_var_clause(value)
            || pg_sys::contain_subplans(value)
            || pg_sys::contain_volatile_functions(value)
        {
            return None;
        }
        converted(pg_sys::copyObjectImpl(value.cast()).cast(), condition.of)
    }
}

unsafe fn is_column(node: *mut pg_sys::Node, index: i32, column: i16) -> bool {
    // SAFETY: as for `simplified`.
    unsafe {
        is_a(node, pg_sys::NodeTag::T_Var) && {
            let var = &*node.cast::<pg_sys::Var>();
            i64::from(var.varno) == i64::from(index)
                && (var.varattno, var.varlevelsup) == (column, 0)
        }
    }
}

/// What an operator means to the order of a type's values.
unsafe fn meaning(operator: pg_sys::Oid, of: pg_sys::Oid) -> Option<Comparison> {
    // SAFETY: looks into caches of the backend; the entry of a built-in type stays.
    let strategy = unsafe {
        let flags = pg_sys::TYPECACHE_BTREE_OPFAMILY as i32;
        let family = (*pg_sys::lookup_type_cache(of, flags)).btree_opf;
        pg_sys::get_op_opfamily_strategy(operator, family)
    };
    match u32::try_from(strategy).ok()? {
        pg_sys::BTEqualStrategyNumber => Some(Comparison::Equal),
        pg_sys::BTGreaterStrategyNumber | pg_sys::BTGreaterEqualStrategyNumber => {
            Some(Comparison::From)
        }
        pg_sys::BTLessStrategyNumber | pg_sys::BTLessEqualStrategyNumber => Some(Comparison::To),
        _ => None,
    }
}

/// The value, as bigint if it is a smaller integer: literals are integer.
unsafe fn converted(value: *mut pg_sys::Node, to: pg_sys::Oid) -> Option<*mut pg_sys::Node> {
    // SAFETY: as for `simplified`; the functions are built in.
    unsafe {
        let function = match (pg_sys::exprType(value), to) {
            (from, to) if from == to => return Some(value),
            (pg_sys::INT4OID, pg_sys::INT8OID) => pg_sys::F_INT8_INT4,
            (pg_sys::INT2OID, pg_sys::INT8OID) => pg_sys::F_INT8_INT2,
            _ => return None,
        };
        let arguments = pg_sys::lappend(std::ptr::null_mut(), value.cast());
        let (none, form) = (
            pg_sys::InvalidOid,
            pg_sys::CoercionForm::COERCE_IMPLICIT_CAST,
        );
        let function = pg_sys::Oid::from(function);
        let call = pg_sys::makeFuncExpr(function, to, arguments, none, none, form);
        Some(pg_sys::eval_const_expressions(
            std::ptr::null_mut(),
            call.cast(),
        ))
    }
}

unsafe fn is_null(node: *mut pg_sys::Node) -> bool {
    // SAFETY: as for `simplified`.
    unsafe { is_a(node, pg_sys::NodeTag::T_Const) && (*node.cast::<pg_sys::Const>()).constisnull }
}

/// The nodes of a list. Its parts are what the caller says they are.
unsafe fn elements<'a, T>(list: *mut pg_sys::List) -> &'a mut [*mut T] {
    // SAFETY: as for `simplified`; a cell of such a list is a pointer.
    unsafe {
        match list.as_ref() {
            Some(list) => {
                std::slice::from_raw_parts_mut(list.elements.cast(), list.length as usize)
            }
            None => &mut [],
        }
    }
}
